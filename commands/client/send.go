package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// MaxWait is the longest that a server waits for an outcome before it answers.
const MaxWait = 30 * time.Second

// SendOptions say how commands are sent.
type SendOptions struct {
	// Wait is how long the server is to wait for the outcome before it answers that the command is
	// accepted; in whole seconds, rounded up, MaxWait at most. 0: it answers at once.
	Wait time.Duration
}

// Result is what came of one command: what is told of it, or an error as [Client.Send] returns it.
type Result struct {
	Command commands.CommandView
	Err     error
}

// Send sends one command. Its view's Status is landed or rejected, or accepted when the outcome was not
// waited for or did not come in time; [Client.Await] tells it later. A command without an id is given
// one, which the view tells and errors name. Errors are those of the package comment.
func (c *Client) Send(ctx context.Context, command commands.Command, options SendOptions) (
	commands.CommandView, error,
) {
	d := c.delivery(options, []commands.Command{command})
	d.run(ctx)
	return d.items[0].result.Command, d.items[0].result.Err
}

// SendAll sends commands as arrays, in their order, and returns what came of each, in the same order. An
// array is not atomic. More than fit into one request (256 commands or 256 KiB) are sent in several, one
// after another; a command that follows one refused in an earlier request waits in vain until it
// expires, where in the same request it is refused as well.
func (c *Client) SendAll(ctx context.Context, all []commands.Command, options SendOptions) []Result {
	results := make([]Result, 0, len(all))
	d := c.delivery(options, all)
	for len(d.items) > 0 {
		part := &delivery{client: c, wait: d.wait, array: true, items: d.items[:fitting(d.items)]}
		part.run(ctx)
		for i := range part.items {
			results = append(results, part.items[i].result)
		}
		d.items = d.items[len(part.items):]
	}
	return results
}

// fitting is how many of the items one request takes, and one at least.
func fitting(items []sending) int {
	limits := commands.DefaultBodyLimits
	size := len("[]")
	for i := range items {
		size += len(items[i].body) + len(",")
		if i == limits.Array || i > 0 && size > limits.Bytes {
			return i
		}
	}
	return len(items)
}

// delivery is the sending of some commands in one request, as often as it takes.
type delivery struct {
	client *Client
	wait   time.Duration
	array  bool
	items  []sending
}

// sending is one command on its way.
type sending struct {
	command   commands.Command
	body      []byte
	result    Result
	done      bool
	uncertain bool             // an attempt may have been accepted
	problem   *problem.Problem // what was answered last
	err       error            // why there was no answer to the last attempt
}

func (c *Client) delivery(options SendOptions, all []commands.Command) *delivery {
	d := &delivery{client: c, wait: min(max(0, options.Wait), MaxWait), items: make([]sending, len(all))}
	for i, command := range all {
		if command.ID == commands.None {
			command.ID = commands.NewID()
		}
		d.items[i] = sending{command: command, body: command.AppendTo(nil)}
	}
	return d
}

// run makes attempts until everything is settled or there is no more time.
func (d *delivery) run(ctx context.Context) {
	err := context.Cause(ctx)
	for failed := 0; err == nil; {
		open := d.open()
		if len(open) == 0 {
			return
		}
		after := d.attempt(ctx, open)
		if len(d.open()) == 0 {
			return
		}
		failed++
		err = d.client.pause(ctx, failed, after)
	}
	for _, s := range d.open() {
		s.giveUp(err)
	}
}

func (d *delivery) open() []*sending {
	var open []*sending
	for i := range d.items {
		if s := &d.items[i]; !s.done {
			open = append(open, s)
		}
	}
	return open
}

// attempt sends what is open once, and returns how long the server asks to be left alone.
func (d *delivery) attempt(ctx context.Context, open []*sending) time.Duration {
	answer, err := d.client.exchange(ctx,
		ask{method: http.MethodPost, path: "/v1/commands", wait: d.wait, body: d.body(open)})
	if err != nil {
		for _, s := range open {
			s.unanswered(err)
		}
		return 0
	}
	success := answer.status == http.StatusOK || answer.status == http.StatusAccepted
	isArray := bytes.HasPrefix(answer.body, []byte("["))
	if !success && !isArray {
		p := problemOf(answer)
		for _, s := range open {
			s.say(p)
		}
		return p.RetryAfter
	}
	answers := []json.RawMessage{answer.body}
	if d.array {
		err = json.Unmarshal(answer.body, &answers)
	}
	if err != nil || len(answers) != len(open) {
		err = fmt.Errorf("the answer is not one for each of %d commands: %s", len(open), excerpt(answer.body))
		for _, s := range open {
			s.unanswered(err)
		}
		return 0
	}
	after := retryAfter(answer.header.Get("Retry-After"))
	for i, s := range open {
		s.read(answers[i])
		if s.problem != nil {
			after = max(after, s.problem.RetryAfter)
		}
	}
	d.keepFollowers(open)
	return after
}

func (d *delivery) body(open []*sending) []byte {
	if !d.array {
		return open[0].body
	}
	bodies := make([][]byte, len(open))
	for i, s := range open {
		bodies[i] = s.body
	}
	return slices.Concat([]byte("["), bytes.Join(bodies, []byte(",")), []byte("]"))
}

// keepFollowers sends those again that were refused for following one that will be sent again.
func (d *delivery) keepFollowers(open []*sending) {
	again := map[commands.ID]bool{}
	for _, s := range open {
		if s.done && s.problem != nil && s.problem.Code == commands.PredecessorRefused && again[s.command.Ticket] {
			s.done, s.result = false, Result{}
		}
		if !s.done {
			again[s.command.ID] = true
		}
	}
}

// read takes one command's answer: a view, or a problem, which tells its status as a number.
func (s *sending) read(text []byte) {
	var kind struct {
		Status json.RawMessage `json:"status"`
	}
	err := json.Unmarshal(text, &kind)
	switch {
	case err == nil && bytes.HasPrefix(kind.Status, []byte(`"`)):
		var view commands.CommandView
		if err = json.Unmarshal(text, &view); err == nil && view.ID == s.command.ID {
			s.problem, s.err = nil, nil
			s.done, s.result.Command = true, view
			return
		}
	case err == nil:
		p := new(problem.Problem)
		if err = json.Unmarshal(text, p); err == nil && p.Status != 0 {
			s.say(p)
			return
		}
	}
	s.unanswered(errors.Join(fmt.Errorf("the answer is not one to command %s: %s", s.command.ID, excerpt(text)), err))
}

// say takes a problem: an outcome, a refusal, or a reason to try again.
func (s *sending) say(p *problem.Problem) {
	s.problem, s.err = p, nil
	switch {
	case p.Rejection != nil:
		s.result.Command = *p.Rejection
		s.result.Command.Type = s.command.Type
		s.done = true
	case passing(p):
		s.uncertain = s.uncertain || !nothingAccepted(p)
	case p.Status >= http.StatusInternalServerError, s.uncertain && !certain(p.Code):
		s.uncertain = true
		s.giveUp(errFinal)
	default:
		s.done = true
		s.result.Err = &RefusedError{ID: s.command.ID, Problem: p}
	}
}

func (s *sending) unanswered(err error) {
	s.problem, s.err = nil, err
	s.uncertain = s.uncertain || !neverSent(err)
}

// giveUp settles what stays open, for the reason given.
func (s *sending) giveUp(why error) {
	s.done = true
	if s.err != nil {
		why = fmt.Errorf("%w; %w", why, s.err)
	} else if s.problem != nil {
		why = fmt.Errorf("%w; last answer: %s", why, s.problem.Error())
	}
	switch {
	case s.uncertain:
		s.result.Err = &FateUnknownError{ID: s.command.ID, Problem: s.problem, Err: why}
	case s.problem != nil:
		s.result.Err = &RefusedError{ID: s.command.ID, Problem: s.problem, Err: why}
	default:
		s.result.Err = fmt.Errorf("command %s was not sent: %w", s.command.ID, why)
	}
}
