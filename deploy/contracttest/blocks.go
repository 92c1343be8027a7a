package contracttest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Block is one block of an event stream: a message when it has an Event.
type Block struct {
	Event    string
	Data     json.RawMessage
	ID       string
	Retry    time.Duration
	Comments []string
}

// Blocks reads an event stream, and takes nothing but what doorman may send (DESIGN section 3, GET
// /v1/notifications). It is a second opinion: it shares no code with the program or its client.
type Blocks struct{ from *bufio.Reader }

// NewBlocks reads with a buffer of so many bytes.
func NewBlocks(from io.Reader, buffer int) *Blocks {
	return &Blocks{from: bufio.NewReaderSize(from, buffer)}
}

// ErrTorn is an event stream that ended within a block, which counts as not sent.
var ErrTorn = errors.New("the event stream ended within a block")

// Next reads a whole block. The error is io.EOF when the stream ended after the one before.
func (b *Blocks) Next() (*Block, error) {
	block := &Block{}
	for begun := false; ; begun = true {
		line, err := b.from.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && line == "" && !begun:
			return nil, io.EOF
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, ErrTorn
		case err != nil:
			return nil, err
		}
		line = line[:len(line)-1]
		if line == "" {
			return block, block.check()
		}
		if err := block.take(line); err != nil {
			return nil, err
		}
	}
}

func (b *Block) take(line string) (err error) {
	if strings.ContainsRune(line, '\r') {
		return fmt.Errorf("a carriage return in %q", line)
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line[0] == ':':
		b.Comments = append(b.Comments, value)
	case name == "event" && b.Event == "":
		b.Event = value
	case name == "data" && b.Data == nil:
		b.Data = json.RawMessage(value)
	case name == "id" && b.ID == "":
		b.ID = value
	case name == "retry" && b.Retry == 0:
		var millis int
		millis, err = strconv.Atoi(value)
		b.Retry = time.Duration(millis) * time.Millisecond
	default:
		err = fmt.Errorf("no such line, or not twice: %q", line)
	}
	return err
}

var (
	events = []string{commands.PushState, commands.PushParked, commands.PushLanded, commands.PushRejected, commands.PushReset, commands.PushRefused}
	// placed are those that tell of something in the log; the others have no id.
	placed = []string{commands.PushState, commands.PushLanded, commands.PushRejected}
)

func (b *Block) check() error {
	switch {
	case b.ID != "" && !kinds["<mark>"].MatchString(b.ID):
		return fmt.Errorf("the id %q is no mark", b.ID)
	case b.Event == "" && b.Data == nil:
		return nil
	case !slices.Contains(events, b.Event):
		return fmt.Errorf("there is no event %q", b.Event)
	case b.ID != "" && !slices.Contains(placed, b.Event):
		return fmt.Errorf("an event %s with an id", b.Event)
	}
	if err := commands.CheckJSON(b.Data, 100); err != nil {
		return fmt.Errorf("the data of an event %s: %w", b.Event, err)
	}
	return nil
}
