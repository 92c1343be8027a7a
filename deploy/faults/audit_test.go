//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// auditor holds what became of a round's commands against DESIGN section 5: promises 1 to 4, 6 and 10. It
// judges by a second, simpler account of the ticket rules.
type auditor struct {
	ctx     context.Context
	found   *complaints
	client  *client.Client
	sent    map[commands.ID]*sent
	views   map[commands.ID]commands.CommandView
	reasons map[commands.Reason]int
	landed  int
}

// audit looks at the rows that the log has grown by in a round, in which so many commands were sent.
func audit(ctx context.Context, t *testing.T, gateway *process, all []*sent, rows []row, found *complaints) *auditor {
	t.Helper()
	a := &auditor{ctx: ctx, found: found, client: newClient(t, gateway), sent: map[commands.ID]*sent{},
		views: map[commands.ID]commands.CommandView{}, reasons: map[commands.Reason]int{}}
	var ids []commands.ID
	for _, s := range all {
		a.sent[s.ID] = s
		ids = append(ids, s.ID)
	}
	views, err := a.client.Status(ctx, ids...)
	if err != nil {
		found.add("the commands' status cannot be read: %v", err)
		return a
	}
	for i := range views {
		a.views[views[i].ID] = views[i]
	}
	streams := map[commands.Stream][]row{}
	for _, r := range rows {
		a.outcome(r)
		streams[r.stream] = append(streams[r.stream], r)
	}
	for stream, outcomes := range streams {
		a.path(stream, outcomes)
	}
	return a
}

// outcome: promises 1, 3 and 6, of one row; that each command has one row at most is known.
func (a *auditor) outcome(r row) {
	view, s := a.views[r.id], a.sent[r.id]
	switch {
	case s == nil:
		a.found.add("%s at %d was never sent", r.id, r.position)
		return
	case s.Stream != r.stream:
		a.found.add("%s was sent to %s and is logged on %s", r.id, s.Stream, r.stream)
	case view.Status != commands.StatusLanded && view.Status != commands.StatusRejected:
		a.found.add("%s on %s is logged at %d and is told to be %s", r.id, r.stream, r.position, view.Status)
	case view.Position.N != r.position, view.Stream != r.stream, r.landed != (view.Status == commands.StatusLanded),
		r.landed && view.Version != r.version:
		a.found.add("%s is logged as %+v and told as %+v", r.id, r, view)
	}
	if r.landed {
		a.landed++
	} else {
		a.reasons[view.Reason]++
	}
}

// path: promise 2, versions without holes and every landed command's ticket valid where it landed; promise
// 4, a rejection's reason is true.
func (a *auditor) path(stream commands.Stream, outcomes []row) {
	var version uint64
	head := commands.Genesis
	landedAt := map[commands.ID]uint64{}
	rejected := map[commands.ID]commands.CommandView{}
	var expected []commands.ID // by version
	for _, r := range outcomes {
		s, view := a.sent[r.id], a.views[r.id]
		if s == nil {
			continue
		}
		at, landed := landedAt[s.Ticket]
		valid := s.Ticket == commands.Genesis && version == 0 || landed && at == version
		if r.landed {
			if !valid {
				a.found.add("%s landed at version %d of %s with the ticket %s (promise 2)", r.id, version, stream, s.Ticket)
			}
			for range effects(s.Type) {
				expected = append(expected, r.id)
			}
			if version, head = uint64(len(expected)), r.id; r.version != version {
				a.found.add("%s on %s has the version %d in the log, it should be %d (promise 2)", r.id, stream, r.version, version)
			}
			landedAt[r.id] = version
			continue
		}
		before, known := rejected[s.Ticket]
		truth := false
		switch view.Reason {
		case commands.StaleTicket:
			truth = !valid && (landed || s.Ticket == commands.Genesis)
		case commands.PredecessorRejected:
			truth = known && before.Root == view.Root && before.RootReason == view.RootReason
		case commands.PredecessorMissing:
			truth = s.orphan
		}
		if !truth {
			a.found.add("%s on %s, ticket %s, is rejected at %d as %s: %s (promise 4; landed %t, valid %t, its predecessor rejected %t)",
				r.id, stream, s.Ticket, r.position, view.Reason, view.Detail, landed, valid, known)
		}
		rejected[r.id] = view
	}
	a.changelog(stream, expected)
	now, err := a.client.Stream(a.ctx, stream)
	if err != nil || now.Version != version || now.Ticket != head {
		a.found.add("%s is at version %d with the ticket %s, it should be %d and %s: %v", stream, now.Version, now.Ticket, version, head, err)
		return
	}
	if version > 0 {
		a.fold(stream, now.State)
	}
}

// changelog: promise 3, each command has its events once, and no others are there.
func (a *auditor) changelog(stream commands.Stream, expected []commands.ID) {
	n := 0
	for change, err := range a.client.AllEvents(a.ctx, stream, 0) {
		if err != nil {
			a.found.add("the changelog of %s cannot be read: %v", stream, err)
			return
		}
		if n >= len(expected) || change.Version != uint64(n+1) || change.Command.ID != expected[n] ||
			change.Position != a.views[change.Command.ID].Position {
			a.found.add("the changelog of %s has %+v at place %d of %d", stream, change, n+1, len(expected))
			return
		}
		n++
	}
	if n != len(expected) {
		a.found.add("the changelog of %s has %d events of %d", stream, n, len(expected))
	}
}

// fold: promise 10, the state is the fold of the events.
func (a *auditor) fold(stream commands.Stream, state json.RawMessage) {
	sum := 0
	for change, err := range a.client.AllEvents(a.ctx, stream, 0) {
		var data added
		if err == nil {
			err = json.Unmarshal(change.Data, &data)
		}
		if err != nil {
			a.found.add("the changelog of %s: %v", stream, err)
			return
		}
		sum += data.N
	}
	var now tally
	if err := json.Unmarshal(state, &now); err != nil || now.Count != sum {
		a.found.add("the state of %s is %s, the sum of its events %d (promise 10): %v", stream, state, sum, err)
	}
}

func newClient(t *testing.T, p *process) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: p.url()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
