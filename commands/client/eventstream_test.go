package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// parse takes a text in pieces of a size and writes down what is told.
func parse(t testing.TB, text string, size int) (told []string, retry time.Duration) {
	t.Helper()
	s := eventStream{most: 1 << 20}
	for rest := []byte(text); len(rest) > 0; {
		chunk := rest[:min(size, len(rest))]
		rest = rest[len(chunk):]
		for {
			left, whole, err := s.take(chunk)
			require.NoError(t, err)
			if !whole {
				break
			}
			line := fmt.Sprintf("%s %q", s.event, s.data)
			if !s.some {
				line = "nothing"
			}
			if s.marked {
				line += fmt.Sprintf(" at %q", s.id)
			}
			told = append(told, line)
			chunk = left
		}
	}
	return told, s.retry
}

// WHATWG HTML section 9.2.6, whatever the pieces that the bytes come in.
func TestEventsAreReadHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text string
		want []string
	}{
		"a message":                  {"event: state\ndata: {}\nid: e-7\n\n", []string{`state "{}" at "e-7"`}},
		"carriage returns":           {"event: state\rdata: 1\r\rdata: 2\r\r", []string{`state "1"`, ` "2"`}},
		"both":                       {"event: state\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", []string{`state "1"`, ` "2"`}},
		"mixed":                      {"data: 1\r\rdata: 2\n\ndata: 3\r\n\n\rdata: 4\r\n\r", []string{` "1"`, ` "2"`, ` "3"`, ` "4"`}},
		"several lines of data":      {"data: a\ndata\ndata:b\ndata:  c\n\n", []string{` "a\n\nb\n c"`}},
		"comments":                   {": ok\n:\n\n:data: 1\ndata: 2\n\n", []string{` "2"`}},
		"a mark alone":               {"id: e-8\n\n:\nid: e-9\n\n", []string{`nothing at "e-8"`, `nothing at "e-9"`}},
		"no data":                    {"event: state\n\ndata: 1\n\n", []string{` "1"`}},
		"empty data":                 {"data\n\ndata:\n\n", []string{` ""`, ` ""`}},
		"an id with a NUL":           {"id: e\x00\ndata: 1\n\n", []string{` "1"`}},
		"an empty id":                {"id\ndata: 1\n\n", []string{` "1" at ""`}},
		"unknown fields":             {"foo: 1\ndatax: 2\ndata : 3\n data: 4\ndata: 5\n\n", []string{` "5"`}},
		"a byte order mark":          {"\ufeffdata: 1\n\n\ufeffdata: 2\n\n", []string{` "1"`}},
		"only half of one":           {"\xef\xbbdata: 1\ndata: 2\n\n", []string{` "2"`}},
		"a message that is cut off":  {"data: 1\n\ndata: 2\n", []string{` "1"`}},
		"the last event name counts": {"event: a\nevent: b\ndata: 1\n\n", []string{`b "1"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for size := 1; size <= len(c.text); size++ {
				got, _ := parse(t, c.text, size)
				require.Equal(t, c.want, got, "in pieces of %d", size)
			}
		})
	}
}

func TestRetryIsDigitsOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"retry: 1500\n": 1500 * time.Millisecond, "retry:7\n": 7 * time.Millisecond, "retry: +5\n": 0, "retry: -5\n": 0,
		"retry: 1.5\n": 0, "retry:\n": 0, "retry: 999999999\n": time.Hour, "retry: 20\nretry: x\n": 20 * time.Millisecond,
	} {
		_, got := parse(t, text, 3)
		require.Equal(t, want, got, text)
	}
}

func TestAMessageIsBounded(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("x", 200), strings.Repeat("data: xxxxx\n", 20), strings.Repeat("data:\n", 200)} {
		s := eventStream{most: 100}
		_, _, err := s.take([]byte(text))
		require.ErrorIs(t, err, errTooLong)
	}
	s := eventStream{most: 100}
	for range 100 { // what has been told is not counted again
		_, whole, err := s.take([]byte("data: " + strings.Repeat("x", 90) + "\n\n"))
		require.NoError(t, err)
		require.True(t, whole)
	}
}

func TestReadingEventsAllocatesNothing(t *testing.T) {
	s := eventStream{most: 1 << 20}
	text := []byte(": \nevent: state\ndata: {\"a\":1}\nid: e-17\n\n")
	s.take(text)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for rest := text; len(rest) > 0; {
			end := min(7, len(rest))
			_, _, _ = s.take(rest[:end])
			rest = rest[end:]
		}
	}))
}

// The model reads all at once, by the letter of the standard.
func model(text string) (told []string) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	var event, data, id string
	var some, marked bool
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			said := fmt.Sprintf("%s %q", event, strings.TrimSuffix(data, "\n"))
			if !some {
				said = "nothing"
			}
			if marked {
				said += fmt.Sprintf(" at %q", id)
			}
			if some || marked {
				told = append(told, said)
			}
			event, data, some, marked = "", "", false, false
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "data":
			data, some = data+value+"\n", true
		case "id":
			if !strings.Contains(value, "\x00") {
				id, marked = value, true
			}
		}
	}
	return told
}

func FuzzEventStream(f *testing.F) {
	f.Add("\ufeffevent: a\r\ndata: 1\r\rid: 7\n\n: x\ndata\ndata: b\n\n", uint8(1))
	f.Add("\ufefdata: 1\n\n", uint8(2))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		got, _ := parse(t, text, int(size)+1)
		require.Equal(t, model(text), got)
	})
}
