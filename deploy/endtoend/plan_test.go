//go:build unix

package endtoend

import (
	"encoding/json"
	"math/rand/v2"
	"sort"

	"github.com/ticketed/doorman/commands"
)

// plan is a load of commands on many ledgers: chains of actions, each with the ticket of the one before,
// with rivals and refused ones beside them, out of order, some of them twice, alone and in arrays.
type plan struct {
	random *rand.Rand
	queue  []placed
	// heldBack are first actions of streams on which everything else has to wait for them.
	heldBack []*commands.Command
	waiting  []*commands.Command // on those streams
	size     int                 // different commands, those held back included
}

// placed is a command and where in the order of sending it is.
type placed struct {
	at float64
	*commands.Command
}

// newPlan makes a load for so many streams, in which a command is up to so many steps of its stream away
// from its place.
func newPlan(random *rand.Rand, streams, steps int) *plan {
	p := &plan{random: random}
	for i := range streams {
		stream := commands.Stream{Type: "ledger", ID: commands.NewID().String()}
		if i%10 == 5 { // on these some expire before their predecessors come
			stream.Type = "brief"
		}
		p.stream(stream, streams, steps, i%10 == 0)
	}
	sort.SliceStable(p.queue, func(i, j int) bool { return p.queue[i].at < p.queue[j].at })
	return p
}

func command(stream commands.Stream, kind string, ticket commands.ID, data any) *commands.Command {
	c := &commands.Command{ID: commands.NewID(), Stream: stream, Type: kind, Ticket: ticket, Actor: "Ann"}
	if data != nil {
		var err error
		if c.Data, err = json.Marshal(data); err != nil {
			panic(err) // it is a struct of this package
		}
	}
	return c
}

func (p *plan) stream(stream commands.Stream, streams, steps int, holdBack bool) {
	chain := []commands.ID{commands.Genesis}
	ticket := commands.Genesis
	for step := range 10 + p.random.IntN(20) {
		place := func(c *commands.Command) {
			p.size++
			if holdBack && step == 0 {
				p.heldBack = append(p.heldBack, c)
				return
			}
			if holdBack {
				p.waiting = append(p.waiting, c)
			}
			at := float64(step*streams) + p.random.Float64()*float64(steps*streams)
			p.queue = append(p.queue, placed{at, c})
			if p.random.IntN(20) == 0 { // sent twice, at about the same time or a good deal later
				p.queue = append(p.queue, placed{at + p.random.Float64()*float64(streams)*float64(p.random.IntN(2)*steps), c})
			}
		}
		next := command(stream, "add", ticket, added{1 + p.random.IntN(9)})
		switch choice := p.random.IntN(100); {
		case step == 0:
		case choice < 8:
			no := command(stream, "refuse", ticket, nil)
			place(no)
			place(command(stream, "add", no.ID, added{1}))
		case choice < 11:
			place(command(stream, "add", chain[1+p.random.IntN(len(chain)-1)], added{1}))
		case choice < 14 && !holdBack:
			rival := command(stream, "add", ticket, added{1})
			if rival.Policy = commands.PolicyStrict; p.random.IntN(3) == 0 {
				rival.Policy, rival.Ticket = commands.PolicyAny, commands.None
			}
			place(rival)
		case choice < 25:
			next = command(stream, "note", ticket, nil)
		case choice < 35:
			next.Type = "add_twice"
		}
		place(next)
		chain = append(chain, next.ID)
		if next.Type != "note" || p.random.IntN(2) == 0 { // a note leaves older tickets valid
			ticket = next.ID
		}
	}
}

// requests are the load in the order of sending: most commands alone, the others in arrays.
func (p *plan) requests() [][]*commands.Command {
	var all [][]*commands.Command
	for i := 0; i < len(p.queue); {
		n := 1
		if p.random.IntN(4) == 0 {
			n = min(2+p.random.IntN(15), len(p.queue)-i)
		}
		var request []*commands.Command
		seen := map[commands.ID]bool{}
		for _, c := range p.queue[i : i+n] {
			if !seen[c.ID] { // an array has an id once
				request = append(request, c.Command)
			}
			seen[c.ID] = true
		}
		all = append(all, request)
		i += n
	}
	return all
}

// alone makes a request of each command.
func alone(list []*commands.Command) [][]*commands.Command {
	var all [][]*commands.Command
	for _, c := range list {
		all = append(all, []*commands.Command{c})
	}
	return all
}
