package cli

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

func readAll(t *testing.T, f *commandFile) (lines []*line, bad []*badLineError) {
	t.Helper()
	require.NoError(t, f.each(func(l *line, wrong *badLineError) error {
		if wrong != nil {
			bad = append(bad, wrong)
			return nil
		}
		lines = append(lines, l)
		return nil
	}))
	return lines, bad
}

const (
	idA   = "0197a000-0000-7000-8000-00000000000a"
	idB   = "0197a000-0000-7000-8000-00000000000b"
	lineA = `{"id":"` + idA + `","stream":"document/1","type":"create","ticket":"genesis","data":{"a":1}}`
	lineB = `{"id":"` + idB + `","stream":"document/1","type":"patch","ticket":"` + idA + `","data":{"b":2}}`
)

func TestLinesAreReadFromAFileGzipOrStandardInput(t *testing.T) {
	t.Parallel()
	text := lineA + "\n\n" + lineB + "\r\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	dir := t.TempDir()
	plain, zipped := filepath.Join(dir, "plain"), filepath.Join(dir, "zipped.jsonl")
	require.NoError(t, os.WriteFile(plain, []byte(text), 0o600))
	require.NoError(t, os.WriteFile(zipped, packed.Bytes(), 0o600))
	for name, f := range map[string]*commandFile{
		"plain":       {path: plain},
		"gzip":        {path: zipped},
		"input":       {path: "-", stdin: strings.NewReader(text)},
		"gzip, piped": {path: "-", stdin: bytes.NewReader(packed.Bytes())},
	} {
		lines, bad := readAll(t, f)
		require.Empty(t, bad, name)
		require.Len(t, lines, 2, name)
		require.Equal(t, []int{1, 3}, []int{lines[0].number, lines[1].number}, name)
		require.Equal(t, idB, lines[1].command.ID.String(), name)
		require.JSONEq(t, lineA, string(lines[0].command.AppendTo(nil)), name)
		again, err := f.again()
		require.NoError(t, err)
		require.Equal(t, f.path != "-", again, name)
	}
}

func TestABadLineIsNamedWithItsPlace(t *testing.T) {
	t.Parallel()
	f := &commandFile{path: "-", stdin: strings.NewReader(lineA + "\n{\"stream\":\"document/1\",\"typ\":\"create\"}\n{\"stream\":7\nnull\n" + lineB)}
	lines, bad := readAll(t, f)
	require.Len(t, lines, 2)
	require.Len(t, bad, 3)
	require.Regexp(t, `^-:2: .*typ.*at byte \d+\)$`, bad[0].Error())
	require.Regexp(t, `^-:3: .*at byte \d+\)$`, bad[1].Error())
	require.Regexp(t, `^-:4: `, bad[2].Error())
	var malformed *commands.MalformedError
	require.ErrorAs(t, bad[0], &malformed)
}

func TestALineThatIsTooLongEndsTheReading(t *testing.T) {
	t.Parallel()
	f := &commandFile{path: "-", stdin: strings.NewReader(lineA + "\n" + strings.Repeat("x", longestLine+1))}
	err := f.each(func(*line, *badLineError) error { return nil })
	require.EqualError(t, err, "-:2: the line is longer than 263168 bytes")
}

func TestAFileThatBreaksOffIsNamedWithItsPlace(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for range 3 {
		_, err := io.WriteString(w, lineA+"\n")
		require.NoError(t, err)
	}
	require.NoError(t, w.Flush())
	whole := packed.Len()
	_, err := io.WriteString(w, lineB[:40])
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	cut := packed.Bytes()
	damaged := bytes.Clone(cut[:whole])
	damaged = append(damaged, bytes.Repeat([]byte{0xff}, 30)...)
	for want, text := range map[string]string{
		fmt.Sprintf("-:4: the gzip data is cut off, at byte %d of the file", len(cut)): string(cut),
		"-:1: the gzip data is cut off, at byte 5 of the file":                         string(cut[:5]),
		"-:4: the gzip data is damaged, before byte ":                                  string(damaged),
	} {
		lines := 0
		err := (&commandFile{path: "-", stdin: strings.NewReader(text)}).each(func(_ *line, bad *badLineError) error {
			require.Nil(t, bad, "half a line is no bad line")
			lines++
			return nil
		})
		require.ErrorContains(t, err, want)
		require.Equal(t, strings.HasPrefix(want, "-:4"), lines == 3, want)
	}
	broken := io.MultiReader(strings.NewReader(lineA+"\n"+lineB[:10]), iotest.ErrReader(errors.New("the disk is away")))
	err = (&commandFile{path: "-", stdin: broken}).each(func(*line, *badLineError) error { return nil })
	require.EqualError(t, err, fmt.Sprintf("-:2: cannot be read beyond byte %d: the disk is away", len(lineA)+11))
}

func TestAFileWithoutACommandIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.jsonl")
	require.NoError(t, os.WriteFile(empty, []byte("\n \n"), 0o600))
	got := run(t, nil, "", "send", "-f", empty)
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: "+empty+": there is no command in it\n", got.err)
	got = run(t, nil, "", "send", "-f", dir)
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: "+dir+" is a directory; name a file of commands, one a line\n", got.err)
}

func TestReadingStopsAtAnErrorOfTheTaker(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	f := &commandFile{path: "-", stdin: strings.NewReader(lineA + "\n" + lineB)}
	taken := 0
	require.ErrorIs(t, f.each(func(*line, *badLineError) error { taken++; return stop }), stop)
	require.Equal(t, 1, taken)
	require.ErrorIs(t, (&commandFile{path: filepath.Join(t.TempDir(), "no")}).each(nil), os.ErrNotExist)
}

func TestALineWithoutAnIDIsGivenOne(t *testing.T) {
	t.Parallel()
	l, err := readLine([]byte(`{"stream":"document/1","type":"create","ticket":"genesis","data":{}}`))
	require.NoError(t, err)
	require.NotEqual(t, commands.None, l.command.ID)
}

func TestAnExpectationIsTakenOutAndKept(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text, want, body, problem string
	}{
		{name: "none", text: lineA, want: "landed", body: lineA},
		{name: "a reason", text: strings.Replace(lineA, `{"id"`, `{"expect":"stale_ticket","id"`, 1), want: "stale_ticket", body: lineA},
		{name: "any rejection, at the end", text: strings.TrimSuffix(lineA, "}") + `,"expect":"rejected"}`, want: "rejected", body: lineA},
		{name: "one in the data is data", text: strings.Replace(lineA, `{"a":1}`, `{"expect":1}`, 1), want: "landed", body: strings.Replace(lineA, `{"a":1}`, `{"expect":1}`, 1)},
		{name: "no such reason", text: strings.Replace(lineA, `{"id"`, `{"expect":"luck","id"`, 1), problem: `expect: "luck" is neither landed, rejected nor a reason`},
		{name: "no text", text: strings.Replace(lineA, `{"id"`, `{"expect":7,"id"`, 1), problem: `expect: 7 is not a text`},
		{name: "no object", text: `["expect"]`, problem: `array`},
		{name: "cut off", text: `{"expect":"landed","id":`, problem: `at byte`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := readLine([]byte(tt.text))
			if tt.problem != "" {
				require.ErrorContains(t, err, tt.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, l.want)
			require.JSONEq(t, tt.body, string(l.command.AppendTo(nil)))
		})
	}
}

// reordered runs lines numbered from 1 through a disorder and gives the numbers as they come out; a repeat is
// negative.
func reordered(t require.TestingT, n, window int, repeats float64, seed uint64) []int {
	var numbers []int
	d := newDisorder(window, repeats, seed, func(l *line) error {
		if l.repeat {
			numbers = append(numbers, -l.number)
		} else {
			numbers = append(numbers, l.number)
		}
		return nil
	})
	for i := range n {
		require.NoError(t, d.take(&line{number: i + 1}))
	}
	require.NoError(t, d.flush())
	return numbers
}

func TestWithoutAWindowTheOrderIsKept(t *testing.T) {
	t.Parallel()
	for i, number := range reordered(t, 1000, 0, 0, 1) {
		require.Equal(t, i+1, number)
	}
}

func TestShuffling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 500).Draw(t, "lines")
		window := rapid.IntRange(0, 100).Draw(t, "window")
		repeats := rapid.SampledFrom([]float64{0, 0.05, 0.5, 1}).Draw(t, "repeats")
		seed := rapid.Uint64().Draw(t, "seed")
		got := reordered(t, n, window, repeats, seed)
		require.Equal(t, got, reordered(t, n, window, repeats, seed), "the same seed gives the same order")

		first, again := map[int]int{}, map[int]int{}
		place := 0
		for _, number := range got {
			if number < 0 {
				require.Contains(t, first, -number, "a repeat comes after its line")
				again[-number]++
				require.LessOrEqual(t, again[-number], 1)
				continue
			}
			first[number]++
			require.LessOrEqual(t, abs(number-1-place), window, "a line is at most window places from its own")
			place++
		}
		require.Len(t, first, n, "every line comes")
		if repeats == 1 && window == 0 {
			require.Len(t, again, n, "every line comes again")
		}
	})
}

func abs(n int) int { return max(n, -n) }

func TestFolding(t *testing.T) {
	t.Parallel()
	f := newFolds()
	take := func(text string) {
		t.Helper()
		l, err := readLine([]byte(text))
		require.NoError(t, err)
		require.NoError(t, f.take(&l))
	}
	patch := func(data string) {
		t.Helper()
		take(`{"stream":"document/1","type":"patch","ticket":"` + idA + `","data":` + data + `}`)
	}
	state := func(want string, version uint64) {
		t.Helper()
		at := f.byStream[commands.Stream{Type: "document", ID: "1"}]
		require.Equal(t, version, at.version)
		same, err := at.matches([]byte(want))
		require.NoError(t, err)
		require.True(t, same, "%v is not %s", at.state, want)
	}
	take(lineA)
	take(lineA) // a repeat
	state(`{"a":1}`, 1)
	patch(`{"b":{"c":null,"d":1.0},"a":null}`)
	state(`{"b":{"d":1.0}}`, 2)
	patch(`{"b":{"d":1.0},"x":null}`) // changes nothing, so no event
	state(`{"b":{"d":1.0}}`, 2)
	patch(`{"b":{"d":1}}`) // numbers are compared by their literal
	state(`{"b":{"d":1}}`, 3)
	take(`{"expect":"stale_ticket","stream":"document/1","type":"patch","ticket":"genesis","data":{"z":1}}`)
	state(`{"b":{"d":1}}`, 3)
	take(`{"stream":"document/1","type":"replace","ticket":"` + idA + `","data":{"q":[1,2]}}`)
	state(`{"q":[1,2]}`, 4)
	take(`{"stream":"document/1","type":"delete","ticket":"` + idA + `","data":{}}`)
	state(`null`, 5)
	take(`{"stream":"order/1","type":"open","ticket":"genesis","data":{}}`)
	require.Len(t, f.others, 1)
	l, err := readLine([]byte(`{"stream":"document/1","type":"dance","ticket":"genesis"}`))
	require.NoError(t, err)
	require.ErrorContains(t, f.take(&l), `"dance" is no command of a document`)
}

// The examples of RFC 7396, appendix A, whose target is an object or nothing.
func TestMergePatchExamples(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		target, err := decodeNumbers([]byte(tt[0]))
		require.NoError(t, err)
		patch, err := decodeNumbers([]byte(tt[1]))
		require.NoError(t, err)
		want, err := decodeNumbers([]byte(tt[2]))
		require.NoError(t, err)
		got, _ := mergePatch(target, patch)
		require.Equal(t, want, got, "%s patched with %s", tt[0], tt[1])
	}
}
