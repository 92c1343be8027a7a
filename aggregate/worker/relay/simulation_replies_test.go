package relay_test

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// askers are the other services of a simulation: one that always takes its answers, one that sometimes does not, and
// one that is not there.
type askers struct {
	s       *simulation
	number  int
	known   []*commands.Outcome // that were committed
	waits   []*commands.Outcome // that are parked
	owed    map[string]string   // what is to come to the one that always takes, by what it calls it
	allowed map[string]string   // what may come to any
	moody   *requester
	steady  *requester
}

func newAskers(s *simulation) *askers {
	return &askers{s: s, owed: map[string]string{}, allowed: map[string]string{}, steady: s.w.requester("steady"), moody: s.w.requester("moody")}
}

// address is somebody, who calls what he asks something new.
func (a *askers) address() (queue, correlation string) {
	a.number++
	return []string{"steady", "moody", "nobody"}[a.s.upTo(2)], strconv.Itoa(a.number)
}

func (a *askers) expect(queue, correlation, kind string) {
	a.allowed[correlation] = kind
	if queue == "steady" {
		a.owed[correlation] = kind
	}
}

func statusOf(o *commands.Outcome) string {
	if o.Landed() {
		return "landed"
	}
	return "rejected"
}

// first has somebody want to know of an outcome to be committed, perhaps.
func (a *askers) first(o *commands.Outcome) {
	if a.s.upTo(2) > 0 {
		o.ReplyTo, o.CorrelationID = a.address()
	}
}

func (a *askers) committed(batch []*commands.Outcome, ok bool) {
	if !ok {
		return
	}
	for _, o := range batch {
		a.known = append(a.known, o)
		if o.ReplyTo != "" {
			a.expect(o.ReplyTo, o.CorrelationID, statusOf(o))
		}
	}
}

// ask has some commands sent again, and some ids used for others.
func (a *askers) ask() {
	for range 1 + a.s.upTo(20) {
		all := append(append([]*commands.Outcome{}, a.known...), a.waits...)
		if len(all) == 0 {
			return
		}
		o := all[a.s.upTo(len(all)-1)]
		queue, correlation := a.address()
		answer, kind := again(o.ID, o.Stream, queue, correlation), statusOf(o)
		if a.s.upTo(4) == 0 {
			answer.Ruling, kind = aggregate.Conflict, "id_conflict"
		}
		if a.s.at[o.Stream.Lane(lanes)].round(&aggregate.Result{Answers: []aggregate.Answer{answer}}) {
			a.expect(queue, correlation, kind)
		}
		if a.s.upTo(3) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func (a *askers) park() {
	o := landing(streamOn(a.s.upTo(lanes-1), a.s.upTo(2)), 1)
	a.first(o)
	if a.s.at[o.Stream.Lane(lanes)].round(&aggregate.Result{Park: []*aggregate.Waiting{waitingFor(o)}}) {
		a.waits = append(a.waits, o)
	}
}

func (a *askers) settle() {
	if len(a.waits) == 0 {
		return
	}
	at := a.s.upTo(len(a.waits) - 1)
	o := a.waits[at]
	ok := a.s.at[o.Stream.Lane(lanes)].commit(o)
	if a.committed([]*commands.Outcome{o}, ok); ok {
		a.waits = append(a.waits[:at], a.waits[at+1:]...)
	}
}

// moods has the moody one change.
func (a *askers) moods() {
	a.s.w.change(func() { a.moody.full, a.moody.silent = a.s.upTo(2) == 0, a.s.upTo(2) == 0 })
}

// finish settles everything, and leaves time for everybody to be told.
func (a *askers) finish() {
	a.s.w.change(func() { a.moody.full, a.moody.silent = false, false })
	for len(a.waits) > 0 {
		a.settle()
	}
	time.Sleep(time.Minute)
}

func (a *askers) check(w *world) error {
	for _, q := range []*requester{a.steady, a.moody} {
		for _, n := range q.got {
			kind := kindOf(n)
			if want := a.allowed[n.CorrelationID]; kind != want {
				return fmt.Errorf("%s was told %s, and it was %q", n.CorrelationID, kind, want)
			}
			if q == a.steady {
				delete(a.owed, n.CorrelationID)
			}
		}
	}
	if len(a.owed) > 0 {
		return fmt.Errorf("%d were not told, such as %v", len(a.owed), a.owed)
	}
	if left := w.asksLeft(); left > 0 {
		return fmt.Errorf("%d rows are left", left)
	}
	return nil
}
