"""Hashes of strings as TensorFlow computes them, for many strings at a time.

`fingerprints` is FarmHash's `Fingerprint64` (Pike and Alakuijala, 2014), `keyed` is SipHash-2-4
(Aumasson and Bernstein, 2012), `crossed` combines fingerprints as TensorFlow's sparse crosses do.
Strings of the same length are hashed together, in NumPy's wrapping 64-bit arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_U64 = np.uint64
_K0, _K1, _K2 = map(_U64, (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
_CROSS_KEY, _CROSS_FACTOR = _U64(0xDECAFCAFFE), _U64(0xC6A4A7935BD1E995)
_Pair = tuple[np.ndarray, np.ndarray]


class _Bytes:
    """Strings of the same length: the bytes, and little-endian integers at an offset."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.length = rows, rows.shape[1]

    def u64(self, at: int) -> np.ndarray:
        return np.ascontiguousarray(self.rows[:, at : at + 8]).view("<u8")[:, 0].astype(_U64)

    def u32(self, at: int) -> np.ndarray:
        return np.ascontiguousarray(self.rows[:, at : at + 4]).view("<u4")[:, 0].astype(_U64)

    def u8(self, at: int) -> np.ndarray:
        return self.rows[:, at].astype(_U64)


def _rotate(x: np.ndarray, bits: int) -> np.ndarray:
    return (x >> _U64(bits)) | (x << _U64(64 - bits))


def _shift_mix(x: np.ndarray) -> np.ndarray:
    return x ^ (x >> _U64(47))


def _mixed(u: np.ndarray, v: np.ndarray, factor: np.ndarray | np.uint64) -> np.ndarray:
    a = _shift_mix((u ^ v) * factor)
    return _shift_mix((v ^ a) * factor) * factor


def _up_to_16(s: _Bytes) -> np.ndarray:
    n = s.length
    factor = _K2 + _U64(2 * n)
    if n >= 8:
        a, b = s.u64(0) + _K2, s.u64(n - 8)
        return _mixed(_rotate(b, 37) * factor + a, (_rotate(a, 25) + b) * factor, factor)
    if n >= 4:
        return _mixed(_U64(n) + (s.u32(0) << _U64(3)), s.u32(n - 4), factor)
    if n == 0:
        return np.full(len(s.rows), _K2)
    first = s.u8(0) + (s.u8(n >> 1) << _U64(8))
    last = _U64(n) + (s.u8(n - 1) << _U64(2))
    return _shift_mix(first * _K2 ^ last * _K0) * _K2


def _up_to_32(s: _Bytes) -> np.ndarray:
    n = s.length
    factor = _K2 + _U64(2 * n)
    a, b, c, d = s.u64(0) * _K1, s.u64(8), s.u64(n - 8) * factor, s.u64(n - 16) * _K2
    total = _rotate(a + b, 43) + _rotate(c, 30) + d
    return _mixed(total, a + _rotate(b + _K2, 18) + c, factor)


def _up_to_64(s: _Bytes) -> np.ndarray:
    n = s.length
    factor = _K2 + _U64(2 * n)
    a, b, c, d = s.u64(0) * _K2, s.u64(8), s.u64(n - 8) * factor, s.u64(n - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mixed(y, a + _rotate(b + _K2, 18) + c, factor)
    e, f = s.u64(16) * factor, s.u64(24)
    g, h = (y + s.u64(n - 32)) * factor, (z + s.u64(n - 24)) * factor
    return _mixed(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, factor)


def _of_32(s: _Bytes, at: int, a: np.ndarray, b: np.ndarray) -> _Pair:
    """A weak hash of the 32 bytes from an offset on."""
    w, x, y, z = (s.u64(at + 8 * i) for i in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    before = a
    a = a + x + y
    return a + z, b + _rotate(a, 44) + before


def _longer(s: _Bytes) -> np.ndarray:
    n = s.length
    x = np.full(len(s.rows), _U64(81))
    y = x * _K1 + _U64(113)
    z = _shift_mix(y * _K2 + _U64(113)) * _K2
    x = x * _K2 + s.u64(0)
    zero = np.zeros_like(x)
    v: _Pair = (zero, zero)
    w: _Pair = (zero, zero)
    for at in range(0, (n - 1) // 64 * 64, 64):
        x = _rotate(x + y + v[0] + s.u64(at + 8), 37) * _K1
        y = _rotate(y + v[1] + s.u64(at + 48), 42) * _K1
        x = x ^ w[1]
        y = y + v[0] + s.u64(at + 40)
        z = _rotate(z + w[0], 33) * _K1
        v = _of_32(s, at, v[1] * _K1, x + w[0])
        w = _of_32(s, at + 32, z + w[1], y + s.u64(at + 16))
        z, x = x, z
    factor = _K1 + ((z & _U64(255)) << _U64(1))
    at, nine = n - 64, _U64(9)
    w = w[0] + _U64((n - 1) & 63), w[1]
    v = v[0] + w[0], v[1]
    w = w[0] + v[0], w[1]
    x = _rotate(x + y + v[0] + s.u64(at + 8), 37) * factor
    y = _rotate(y + v[1] + s.u64(at + 48), 42) * factor
    x = x ^ w[1] * nine
    y = y + v[0] * nine + s.u64(at + 40)
    z = _rotate(z + w[0], 33) * factor
    v = _of_32(s, at, v[1] * factor, x + w[0])
    w = _of_32(s, at + 32, z + w[1], y + s.u64(at + 16))
    z, x = x, z
    return _mixed(
        _mixed(v[0], w[0], factor) + _shift_mix(y) * _K0 + z,
        _mixed(v[1], w[1], factor) + x,
        factor,
    )


def _fingerprint(s: _Bytes) -> np.ndarray:
    for most, fingerprint in ((16, _up_to_16), (32, _up_to_32), (64, _up_to_64)):
        if s.length <= most:
            return fingerprint(s)
    return _longer(s)


def _by_length(strings: Sequence[bytes], function: Callable[[_Bytes], np.ndarray]) -> np.ndarray:
    """Apply a function to the strings of each length."""
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    result = np.empty(len(strings), _U64)
    with np.errstate(over="ignore"):
        for length in np.unique(lengths).tolist():
            places = np.flatnonzero(lengths == length)
            joined = b"".join([strings[i] for i in places.tolist()])
            rows = np.frombuffer(joined, np.uint8).reshape(len(places), length)
            result[places] = function(_Bytes(rows))
    return result


def fingerprints(strings: Sequence[bytes]) -> np.ndarray:
    """The 64-bit fingerprint of each string.

    >>> fingerprints([b"hello"]).tolist()
    [13009744463427800296]
    """
    return _by_length(strings, _fingerprint)


def keyed(strings: Sequence[bytes], key: Sequence[int]) -> np.ndarray:
    """The 64-bit hash of each string with a secret key of two integers.

    >>> keyed([b"hello"], (1, 2)).tolist() == keyed([b"hello"], (2, 1)).tolist()
    False
    """
    first, second = (_U64(k & (2**64 - 1)) for k in key)
    start = [_U64(x) for x in (0x736F6D6570736575, 0x646F72616E646F6D,
                               0x6C7967656E657261, 0x7465646279746573)]  # fmt: skip

    def left(x: np.ndarray, bits: int) -> np.ndarray:
        return _rotate(x, 64 - bits)

    def rounds(v: list[np.ndarray], count: int) -> None:
        for _ in range(count):
            v[0] = v[0] + v[1]
            v[2] = v[2] + v[3]
            v[1] = left(v[1], 13) ^ v[0]
            v[3] = left(v[3], 16) ^ v[2]
            v[0] = left(v[0], 32)
            v[2] = v[2] + v[1]
            v[0] = v[0] + v[3]
            v[1] = left(v[1], 17) ^ v[2]
            v[3] = left(v[3], 21) ^ v[0]
            v[2] = left(v[2], 32)

    def hash_of(s: _Bytes) -> np.ndarray:
        size = -(-(s.length + 1) // 8) * 8
        padded = np.zeros((len(s.rows), size), np.uint8)
        padded[:, : s.length] = s.rows
        padded[:, -1] = s.length & 255
        words = _Bytes(padded)
        v = [np.full(len(s.rows), x ^ (second if i % 2 else first)) for i, x in enumerate(start)]
        for at in range(0, size, 8):
            word = words.u64(at)
            v[3] = v[3] ^ word
            rounds(v, 2)
            v[0] = v[0] ^ word
        v[2] = v[2] ^ _U64(255)
        rounds(v, 4)
        return v[0] ^ v[1] ^ v[2] ^ v[3]

    return _by_length(strings, hash_of)


def crossed(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One fingerprint for the combination of those of several columns, in their order."""
    with np.errstate(over="ignore"):
        result = np.full(columns[0].shape, _CROSS_KEY)
        for column in columns:
            other = column.astype(np.int64).view(_U64) if column.dtype != _U64 else column
            result = result ^ _CROSS_FACTOR
            result = result ^ _shift_mix(other * _CROSS_FACTOR) * _CROSS_FACTOR
            result = result * _CROSS_FACTOR
            result = _shift_mix(_shift_mix(result) * _CROSS_FACTOR)
    return result


__all__ = ["crossed", "fingerprints", "keyed"]
