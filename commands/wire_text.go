package commands

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSONString appends a text as a JSON string, quotes included. Bytes that are no UTF-8 become
// U+FFFD; nothing is escaped that need not be.
func AppendJSONString(b []byte, text string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, width := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && width == 1 {
				b = append(append(b, text[done:i]...), "\ufffd"...)
				done = i + 1
			}
			i += width
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, text[done:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		done = i
	}
	return append(append(b, text[done:]...), '"')
}

// AppendTime appends a moment as every answer tells it, without quotes: RFC 3339 in UTC with whole
// microseconds, always six digits, e.g. 2026-11-22T08:15:30.000250Z.
func AppendTime(b []byte, at time.Time) []byte {
	at = at.UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), int(month), 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), hour, 2)
	b = appendDigits(append(b, ':'), minute, 2)
	b = appendDigits(append(b, ':'), second, 2)
	b = appendDigits(append(b, '.'), at.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

// appendDigits appends a number from 0 up with leading zeros.
func appendDigits(b []byte, n, width int) []byte {
	start := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= start && n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// AppendTo appends "<epoch>-<n>".
func (p Position) AppendTo(b []byte) []byte {
	b = append(b, p.Epoch...)
	b = append(b, '-')
	return strconv.AppendUint(b, p.N, 10)
}

// MarshalText is the text of [Position.AppendTo].
func (p Position) MarshalText() ([]byte, error) { return p.AppendTo(nil), nil }

// UnmarshalText accepts what [ParsePosition] does.
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	*p = parsed
	return err
}

// MarshalText is "type/id".
func (s Stream) MarshalText() ([]byte, error) { return s.AppendTo(nil), nil }

// UnmarshalText accepts what [ParseStream] does.
func (s *Stream) UnmarshalText(text []byte) error {
	parsed, err := ParseStream(string(text))
	*s = parsed
	return err
}

// The appenders of members write a comma first, so that an object is its opening bracket and first
// member followed by any number of them. Keys are given with quotes and colon.

func appendTextMember(b []byte, key, text string) []byte {
	return AppendJSONString(append(append(b, ','), key...), text)
}

func appendIDMember(b []byte, key string, id ID) []byte {
	b = append(append(append(b, ','), key...), '"')
	return append(id.AppendTo(b), '"')
}

func appendTimeMember(b []byte, key string, at time.Time) []byte {
	b = append(append(append(b, ','), key...), '"')
	return append(AppendTime(b, at), '"')
}

func appendNumberMember(b []byte, key string, n uint64) []byte {
	return strconv.AppendUint(append(append(b, ','), key...), n, 10)
}

// appendPositionMember leaves the zero position out: it names no place, and has no text to be read back.
func appendPositionMember(b []byte, p Position) []byte {
	if p == (Position{}) {
		return b
	}
	b = AppendJSONString(append(b, `,"position":`...), p.Epoch)
	b = append(b[:len(b)-1], '-')
	return append(strconv.AppendUint(b, p.N, 10), '"')
}

// appendStreamMember relies on the rules for naming streams: nothing in a name needs escaping.
func appendStreamMember(b []byte, s Stream) []byte {
	b = append(b, `,"stream":"`...)
	return append(s.AppendTo(b), '"')
}

// appendValueMember appends JSON as it is; null for none.
func appendValueMember(b []byte, key string, value []byte) []byte {
	b = append(append(b, ','), key...)
	if len(value) == 0 {
		return append(b, "null"...)
	}
	return append(b, value...)
}
