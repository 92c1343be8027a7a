package commands

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// span is the inside of a string in the text, without its quotes.
type span struct {
	start, end int
	escaped    bool
}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// firstSpecial finds the first of eight bytes that is a quote, a backslash, a control character or not
// ASCII, as the bit index of a flag in that byte; 64 when there is none. Borrows of the subtractions
// only run upwards from a true hit, so the lowest flag is exact.
func firstSpecial(eight uint64) int {
	quote := eight ^ '"'*everyByte
	slash := eight ^ '\\'*everyByte
	flags := eight |
		(eight-0x20*everyByte)&^eight |
		(quote-everyByte)&^quote |
		(slash-everyByte)&^slash
	return bits.TrailingZeros64(flags & highBits)
}

// text reads a string whose opening quote is at hand.
func (s *scanner) text() (span, bool) {
	src, i := s.src, s.at+1
	t := span{start: i}
	for i < len(src) {
		if len(src)-i >= 8 {
			skip := firstSpecial(binary.LittleEndian.Uint64(src[i:])) / 8
			i += skip
			if skip == 8 {
				continue
			}
		}
		switch c := src[i]; {
		case c == '"':
			t.end = i
			s.at = i + 1
			return t, true
		case c == '\\':
			t.escaped = true
			width := s.escape(i)
			if width == 0 {
				return t, false
			}
			i += width
		case c < 0x20:
			return t, s.stop(i, "a control character in a string must be written as an escape")
		case c < utf8.RuneSelf:
			i++
		default:
			r, width := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && width == 1 {
				return t, s.stop(i, "the text is not valid UTF-8")
			}
			if nonCharacter(r) {
				s.note(i, "a string holds a code point that is no character")
			}
			i += width
		}
	}
	s.at = len(src)
	return t, s.stop(len(src), "the text ends inside a string")
}

// escape reads the escape sequence at i and returns its width in bytes, a surrogate pair's being 12;
// 0 when the text is broken there.
func (s *scanner) escape(i int) int {
	if len(s.src)-i < 2 {
		s.stop(len(s.src), "the text ends inside a string")
		return 0
	}
	switch s.src[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		s.stop(i, "there is no such escape in a string")
		return 0
	}
	r, ok := hexRune(s.src, i)
	switch {
	case !ok:
		s.stop(i, `\u must be followed by four hexadecimal digits`)
		return 0
	case r >= 0xd800 && r < 0xe000:
		low, ok := hexRune(s.src, i+6)
		if r >= 0xdc00 || !ok || low < 0xdc00 || low >= 0xe000 {
			s.note(i, "a string holds a lone surrogate")
			return 6
		}
		if nonCharacter(surrogates(r, low)) {
			s.note(i, "a string holds a code point that is no character")
		}
		return 12
	case nonCharacter(r):
		s.note(i, "a string holds a code point that is no character")
	}
	return 6
}

// hexRune reads the \uXXXX at i.
func hexRune(src []byte, i int) (rune, bool) {
	if len(src)-i < 6 || src[i] != '\\' || src[i+1] != 'u' {
		return 0, false
	}
	a, b, c, d := unhex[src[i+2]], unhex[src[i+3]], unhex[src[i+4]], unhex[src[i+5]]
	if a|b|c|d > 15 {
		return 0, false
	}
	return rune(a)<<12 | rune(b)<<8 | rune(c)<<4 | rune(d), true
}

func surrogates(high, low rune) rune { return (high-0xd800)<<10 + (low - 0xdc00) + 0x10000 }

// nonCharacter: the 66 code points that Unicode reserves for ever (RFC 7493 section 2.1).
func nonCharacter(r rune) bool { return r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef }

// bytes is a string decoded; it shares the text's memory when it has no escapes.
func (s *scanner) bytes(t span) []byte {
	if !t.escaped {
		return s.src[t.start:t.end]
	}
	return appendUnescaped(make([]byte, 0, t.end-t.start), s.src[t.start:t.end])
}

// appendUnescaped decodes the inside of a string that a scanner has read. A lone surrogate becomes
// U+FFFD.
func appendUnescaped(b, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			b = append(b, raw[i])
			i++
			continue
		}
		switch c := raw[i+1]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, _ := hexRune(raw, i)
			if low, ok := hexRune(raw, i+6); ok && r >= 0xd800 && r < 0xdc00 && low >= 0xdc00 && low < 0xe000 {
				r = surrogates(r, low)
				i += 6
			}
			b = utf8.AppendRune(b, r)
			i += 4
		default:
			b = append(b, c)
		}
		i += 2
	}
	return b
}
