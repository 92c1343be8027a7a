package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
)

// command is what is sent; /asyncapi.json has all of them.
type command struct {
	ID     string `json:"id"`
	Stream string `json:"stream"`
	Type   string `json:"type"`
	Ticket string `json:"ticket"`
	Actor  string `json:"actor"`
	Data   any    `json:"data"`
}

// reply is what comes back, as far as it matters here.
type reply struct {
	Status, Reason, Detail, Ticket string
	Missed                         []struct{ Type string }
}

// entry is a command in the outbox, and what came of it.
type entry struct {
	Step    string          `json:"step"`
	Command command         `json:"command"`
	Outcome json.RawMessage `json:"outcome,omitempty"`
}

// order makes a command. Its id, made by who sends, rises with time (UUID version 7), as Doorman's indexes like it.
func order(stream, kind, ticket string, data any) command {
	return command{uuid.Must(uuid.NewV7()).String(), stream, kind, ticket, "go", data}
}

type object = map[string]any

// begin is two lines for each new order. The second one's ticket is the id of the first, so that nobody has to wait for
// the answer to the first. They may arrive in any order: of one order we send them in the wrong one. Its second command
// waits for its predecessor, and lands after it.
func begin(orders int) []*entry {
	var outbox []*entry
	for n := range orders {
		stream := "order/" + uuid.Must(uuid.NewV7()).String()
		first := order(stream, "add_line", "genesis", object{"sku": "A1", "qty": 2, "price_cents": 1250})
		second := order(stream, "add_line", first.ID, object{"sku": "B2", "qty": 1, "price_cents": 300})
		both := []*entry{{Step: "one line", Command: first}, {Step: "two lines", Command: second}}
		if n == 0 {
			slices.Reverse(both)
		}
		outbox = append(outbox, both...)
	}
	return outbox
}

// next is what to send after an outcome; nil when the order is through, or other answers are to come first.
func next(e *entry, r *reply) (*entry, error) {
	sent := e.Command
	switch {
	case r.Status == "landed" && e.Step == "two lines":
		// Somebody who looked at the order when it had one line: the ticket is that of then.
		return &entry{Step: "changed", Command: order(sent.Stream, "change_line", sent.Ticket, object{"sku": "A1", "qty": 3})}, nil
	case r.Status == "landed" && e.Step == "changed":
		return &entry{Step: "submitted", Command: order(sent.Stream, "submit", r.Ticket, object{})}, nil
	case r.Status == "landed":
		return nil, nil
	case r.Reason == "stale_ticket":
		// Somebody came first. The answer says who did what that we had not seen (missed), how things stand now (state),
		// and the ticket to try again with. Whether it still makes sense to try is for you to judge; here it does. It
		// is a new command: under the old id the answer stays the same for ever.
		var seen []string
		for _, change := range r.Missed {
			seen = append(seen, change.Type)
		}
		fmt.Fprintf(os.Stdout, "%s: %s came after %s; again with ticket %s\n", sent.Stream, sent.Type, strings.Join(seen, ", "), r.Ticket)
		return &entry{Step: e.Step, Command: order(sent.Stream, sent.Type, r.Ticket, sent.Data)}, nil
	}
	return nil, fmt.Errorf("%s: %s was rejected as %s: %s", sent.Stream, sent.Type, r.Reason, r.Detail)
}

// sender sends what is in the outbox. A command is written into the file before it is sent, and struck off when its
// outcome has come back: what is not struck off is sent again after a restart under the same id, which has no second
// effect, and is answered again.
type sender struct {
	file      string
	outbox    []*entry
	publisher *amqp.Publisher
	replies   string // a queue of our own
}

func send(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("send", flag.ExitOnError)
	orders := flags.Int("orders", 10, "how many")
	if err := parse(flags, args); err != nil {
		return err
	}
	s := &sender{replies: shop + ".replies", file: filepath.Join(folder, "outbox.json")}
	if err := load(s.file, &s.outbox); err != nil {
		return err
	}
	if s.outbox == nil {
		s.outbox = begin(*orders)
		if err := save(s.file, s.outbox); err != nil {
			return err
		}
	}
	queue, err := subscriber(config("", "", s.replies, ""))
	if err != nil {
		return err
	}
	defer queue.Close() //nolint:errcheck // it is over
	answers, err := queue.Subscribe(ctx, s.replies)
	if err != nil {
		return err
	}
	if s.publisher, err = publisher(config(prefix+".commands", "fanout", "", "")); err != nil {
		return err
	}
	defer s.publisher.Close() //nolint:errcheck // as above
	if err := s.settle(ctx, answers); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "all is settled")
	return nil
}

// settle sends what is left, and takes answers until nothing is.
func (s *sender) settle(ctx context.Context, answers <-chan *message.Message) error {
	for _, e := range s.left() {
		if err := s.publish(&e.Command); err != nil {
			return err
		}
	}
	for len(s.left()) > 0 {
		select {
		case m := <-answers:
			if m == nil {
				return fmt.Errorf("queue %s is gone", s.replies)
			}
			if err := s.take(m); err != nil {
				return err
			}
			// Only now. Would we die before this line, the answer came again, and would be known.
			m.Ack()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *sender) left() []*entry {
	return slices.DeleteFunc(slices.Clone(s.outbox), func(e *entry) bool { return e.Outcome != nil })
}

func (s *sender) publish(c *command) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	m := message.NewMessage(c.ID, body)
	m.Metadata[replyTo], m.Metadata[correlationID] = s.replies, c.ID
	return s.publisher.Publish("commands", m)
}

// take strikes a command off, and sends what follows. Answers can come twice; who is struck off is not found.
func (s *sender) take(m *message.Message) error {
	id := m.Metadata[correlationID]
	if m.Metadata[contentType] == "application/problem+json" { // it was refused: nothing happened, nothing is remembered
		return fmt.Errorf("%s was refused: %s", id, m.Payload)
	}
	left := s.left()
	at := slices.IndexFunc(left, func(e *entry) bool { return e.Command.ID == id })
	if at < 0 {
		return nil
	}
	e := left[at]
	var r reply
	if err := json.Unmarshal(m.Payload, &r); err != nil {
		return fmt.Errorf("the answer to %s: %w", id, err)
	}
	follows, err := next(e, &r)
	if err != nil {
		return err
	}
	e.Outcome = json.RawMessage(m.Payload)
	if follows != nil {
		s.outbox = append(s.outbox, follows)
	}
	if err := save(s.file, s.outbox); err != nil { // struck off, and what follows put in: both or nothing
		return err
	}
	if follows == nil {
		return nil
	}
	return s.publish(&follows.Command)
}
