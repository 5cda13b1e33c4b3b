"""Which of several equal elements a selection names: the algorithms PyTorch runs on a CPU.

`topk`, `kthvalue` and `mode` give the position of an element, and where elements are equal that
position depends on the order of exchanges. It shows in printed results, so it is reproduced: the
introselect, heap selection and introsort of libstdc++ (bits/stl_algo.h and bits/stl_heap.h, after
Musser, "Introspective Sorting and Selection Algorithms", 1997), and the quickselect of "Numerical
Recipes" (section 8.5).

A row is a list of (rank, position) pairs of which only ranks are compared:

    row = [(0, 0), (0, 1), (0, 2), (0, 3)]
    nth_element(row, 0); row[0]     # (0, 2): what topk(1) of four equal elements names
"""

from __future__ import annotations

Row = list[tuple[int, int]]

SMALL = 16  # runs up to this length are left to the insertion sort


def _insertion_sort(row: Row, first: int, last: int) -> None:
    for i in range(first + 1, last):
        item = row[i]
        j = i
        while j > first and item[0] < row[j - 1][0]:
            row[j] = row[j - 1]
            j -= 1
        row[j] = item


def _partition(row: Row, first: int, last: int) -> int:
    """Splits around the median of three and returns where the upper part starts."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    ka, kb, kc = row[a][0], row[b][0], row[c][0]
    if ka < kb:
        median = b if kb < kc else c if ka < kc else a
    else:
        median = a if ka < kc else c if kb < kc else b
    row[first], row[median] = row[median], row[first]
    pivot = row[first][0]
    low, high = first + 1, last
    while True:
        while row[low][0] < pivot:
            low += 1
        high -= 1
        while pivot < row[high][0]:
            high -= 1
        if low >= high:
            return low
        row[low], row[high] = row[high], row[low]
        low += 1


def _depth(count: int) -> int:
    return 2 * (count.bit_length() - 1)


def nth_element(row: Row, nth: int) -> None:
    """Puts at `nth` what a sort would put there, smaller ranks before it, larger ones after."""
    first, last = 0, len(row)
    limit = _depth(last) if last else 0
    while last - first > 3:
        if limit == 0:
            _heap_select(row, first, nth + 1, last)
            row[first], row[nth] = row[nth], row[first]
            return
        limit -= 1
        cut = _partition(row, first, last)
        if cut <= nth:
            first = cut
        else:
            last = cut
    _insertion_sort(row, first, last)


def introsort(row: Row, count: int) -> None:
    """Sorts the first `count` elements."""
    _introsort(row, 0, count, _depth(count) if count else 0)
    _insertion_sort(row, 0, count)


def _introsort(row: Row, first: int, last: int, limit: int) -> None:
    while last - first > SMALL:
        if limit == 0:
            _heap_select(row, first, last, last)
            _sort_heap(row, first, last)
            return
        limit -= 1
        cut = _partition(row, first, last)
        _introsort(row, cut, last, limit)
        last = cut


def partial_sort(row: Row, count: int) -> None:
    """Puts the `count` smallest elements first, in order."""
    _heap_select(row, 0, count, len(row))
    _sort_heap(row, 0, count)


def _heap_select(row: Row, first: int, middle: int, last: int) -> None:
    length = middle - first
    for parent in range((length - 2) // 2, -1, -1):
        _adjust_heap(row, first, parent, length, row[first + parent])
    for i in range(middle, last):
        if row[i][0] < row[first][0]:
            item = row[i]
            row[i] = row[first]
            _adjust_heap(row, first, 0, length, item)


def _sort_heap(row: Row, first: int, last: int) -> None:
    while last - first > 1:
        last -= 1
        item = row[last]
        row[last] = row[first]
        _adjust_heap(row, first, 0, last - first, item)


def _adjust_heap(row: Row, first: int, hole: int, length: int, item: tuple[int, int]) -> None:
    """Sinks the hole to a leaf along the larger children, then lifts `item` from there."""
    top = hole
    child = hole
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if row[first + child][0] < row[first + child - 1][0]:
            child -= 1
        row[first + hole] = row[first + child]
        hole = child
    if length % 2 == 0 and child == (length - 2) // 2:
        child = 2 * (child + 1)
        row[first + hole] = row[first + child - 1]
        hole = child - 1
    parent = (hole - 1) // 2
    while hole > top and row[first + parent][0] < item[0]:
        row[first + hole] = row[first + parent]
        hole = parent
        parent = (hole - 1) // 2
    row[first + hole] = item


def quick_select(row: Row, k: int) -> None:
    """Puts at `k` what a sort would put there."""
    low, high = 0, len(row) - 1
    while True:
        if high <= low:
            return
        if high == low + 1:
            _order(row, low, high)
            return
        middle = low + (high - low) // 2
        row[middle], row[low + 1] = row[low + 1], row[middle]
        _order(row, low + 1, high)
        _order(row, low, high)
        _order(row, low + 1, low)
        i, j = low + 1, high
        pivot = row[low][0]
        while True:
            i += 1
            while pivot > row[i][0]:
                i += 1
            j -= 1
            while row[j][0] > pivot:
                j -= 1
            if j < i:
                break
            row[i], row[j] = row[j], row[i]
        row[low], row[j] = row[j], row[low]
        if j <= k:
            low = i
        if j >= k:
            high = j - 1


def _order(row: Row, a: int, b: int) -> None:
    if row[a][0] > row[b][0]:
        row[a], row[b] = row[b], row[a]


def topk_order(row: Row, count: int) -> list[int]:
    """Positions of the `count` smallest ranks, in order, as PyTorch's topk names them."""
    if count * 64 <= len(row):
        partial_sort(row, count)
    else:
        nth_element(row, count - 1)
        introsort(row, count - 1)
    return [position for _, position in row[:count]]


def sorted_order(row: Row) -> list[int]:
    """Positions in the order that libstdc++'s (unstable) sort gives them."""
    introsort(row, len(row))
    return [position for _, position in row]
