package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ticketed/doorman/commands"
)

// line is one command of a file.
type line struct {
	number  int // from 1
	command commands.Command
	want    string // landed, rejected, or a reason
	repeat  bool   // sent again on purpose
}

const (
	wantLanded   = string(commands.StatusLanded)
	wantRejected = string(commands.StatusRejected)
)

// commandFile is where commands are read from; the path "-" is standard input.
type commandFile struct {
	path  string
	stdin io.Reader
}

// again tells whether the file can be read more than once, as a pipe cannot.
func (f *commandFile) again() (bool, error) {
	if f.path == "-" {
		return false, nil
	}
	info, err := os.Stat(f.path)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory; name a file of commands, one a line", f.path)
	}
	return err == nil && info.Mode().IsRegular(), err
}

func (f *commandFile) open() (io.ReadCloser, error) {
	if f.path == "-" {
		return io.NopCloser(f.stdin), nil
	}
	return os.Open(f.path)
}

// badLineError is a line that is no command.
type badLineError struct {
	path   string
	number int
	err    error
}

func (e *badLineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.path, e.number, e.err) }
func (e *badLineError) Unwrap() error { return e.err }

// longestLine is a body and an expectation.
const longestLine = 257 << 10

// each reads the file, which may be gzipped whatever its name is, and calls take for every line but blank
// ones: with the command, or with a *badLineError. It stops at the first error that take returns.
func (f *commandFile) each(take func(*line, *badLineError) error) error {
	opened, err := f.open()
	if err != nil {
		return err
	}
	defer opened.Close()
	source := newSource(opened)
	scanner := bufio.NewScanner(source)
	scanner.Buffer(make([]byte, 64<<10), longestLine)
	scanner.Split(source.split)
	number, found := 0, 0
	for scanner.Scan() {
		number++
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		l, err := readLine(bytes.Clone(scanner.Bytes()))
		var bad *badLineError
		if err != nil {
			bad = &badLineError{f.path, number, err}
		}
		l.number = number
		found++
		if err := take(&l, bad); err != nil {
			return err
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return &badLineError{f.path, number + 1, fmt.Errorf("the line is longer than %d bytes", longestLine)}
	case err != nil:
		return &badLineError{f.path, number + 1, source.explain(err)}
	case found == 0:
		return fmt.Errorf("%s: there is no command in it", f.path)
	}
	return nil
}

// source is the text of a file, unpacked where it is gzipped.
type source struct {
	file   counted
	packed *bufio.Reader
	plain  io.Reader // nil until it is known what the file is
	zipped bool
	broken bool // it cannot be read any further
}

func newSource(file io.Reader) *source {
	s := &source{file: counted{Reader: file}}
	s.packed = bufio.NewReaderSize(&s.file, 64<<10)
	return s
}

// Read is io.Reader's.
func (s *source) Read(p []byte) (n int, err error) {
	if s.plain == nil {
		s.plain = s.packed
		if magic, _ := s.packed.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			s.zipped = true
			if s.plain, err = gzip.NewReader(s.packed); err != nil {
				s.broken = true
				return 0, err
			}
		}
	}
	n, err = s.plain.Read(p)
	s.broken = err != nil && err != io.EOF //nolint:errorlint // readers return it as it is
	return n, err
}

// split gives lines, but not the beginning of one whose rest cannot be read.
func (s *source) split(text []byte, atEnd bool) (int, []byte, error) {
	if atEnd && s.broken && !bytes.Contains(text, []byte{'\n'}) {
		return len(text), nil, nil
	}
	return bufio.ScanLines(text, atEnd)
}

// explain says where in the file reading ended.
func (s *source) explain(err error) error {
	at := s.file.n - int64(s.packed.Buffered())
	switch {
	case s.zipped && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)):
		return fmt.Errorf("the gzip data is cut off, at byte %d of the file", at)
	case s.zipped:
		return fmt.Errorf("the gzip data is damaged, before byte %d of the file: %w", at, err)
	}
	return fmt.Errorf("cannot be read beyond byte %d: %w", at, err)
}

// counted counts what was read.
type counted struct {
	io.Reader
	n int64
}

// Read is io.Reader's.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// readLine reads one command, in the form of POST /v1/commands. A member "expect" beside it says what is
// to become of it, and is not sent.
func readLine(text []byte) (line, error) {
	l := line{want: wantLanded}
	if bytes.Contains(text, []byte(`"expect"`)) {
		var err error
		if text, err = l.takeExpectation(text); err != nil {
			return l, err
		}
	}
	var err error
	if l.command, err = commands.Decode(text); err != nil {
		return l, err
	}
	if l.command.ID == commands.None {
		// It may have to be sent again, and is followed by its id.
		l.command.ID = commands.NewID()
	}
	return l, nil
}

// takeExpectation gives the text without the member "expect". What is no object is left as it is, for
// the decoder to say what is wrong.
func (l *line) takeExpectation(text []byte) ([]byte, error) {
	if !json.Valid(text) {
		return text, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	start, err := decoder.Token()
	if start != json.Delim('{') {
		return text, err
	}
	rest, found := []byte{'{'}, false
	for decoder.More() {
		name, err := decoder.Token()
		var value json.RawMessage
		if err = errors.Join(err, decoder.Decode(&value)); err != nil {
			return nil, err
		}
		if name == "expect" {
			if err := json.Unmarshal(value, &l.want); err != nil {
				return nil, fmt.Errorf("expect: %s is not a text", value)
			}
			found = true
			continue
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(commands.AppendJSONString(rest, name.(string)), ':')
		rest = append(rest, value...)
	}
	if !found {
		return text, nil
	}
	if l.want != wantLanded && l.want != wantRejected && commands.Reason(l.want).Title() == "" {
		return nil, fmt.Errorf("expect: %q is neither landed, rejected nor a reason", l.want)
	}
	return append(rest, '}'), nil
}
