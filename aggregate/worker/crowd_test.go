package worker_test

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// simKind is a type whose state depends on the order of events, and whose code does what a command's
// name says.
type simKind struct{ tally }

func (simKind) Settings() aggregate.Settings {
	return aggregate.Settings{ParkFor: simParkFor, SessionWindow: time.Second}
}

func (k simKind) Decide(state any, command string, data []byte) ([]commands.Event, error) {
	switch command {
	case "add", "poison", "unparkable":
		return []commands.Event{{Type: "added", Schema: 1, Data: data}}, nil
	case "add_twice":
		return []commands.Event{{Type: "added", Schema: 1, Data: data}, {Type: "added", Schema: 1, Data: data}}, nil
	}
	return k.tally.Decide(state, command, data)
}

func (k simKind) Evolve(state any, event commands.Event) (any, error) {
	if event.Type == "spoiled" {
		return -1, nil
	}
	return simFold(state.(int), event), nil
}

func simFold(state int, event commands.Event) int {
	n, _ := strconv.Atoi(string(event.Data))
	return (state*31 + n) % 1_000_003
}

// crowd are the clients: each acts on what it believes came last, and what they send is delayed,
// shuffled, repeated, and at times plain wrong.
type crowd struct {
	rng     *rand.Rand
	newest  int
	streams map[string]*belief
	delayed []commands.Envelope
	sent    []commands.Envelope
}

// belief is what the clients of one stream act on.
type belief struct {
	last commands.ID   // the newest of its commands
	all  []commands.ID // all of them
	owed []commands.ID // that a ticket named before they were made
}

// commands are the next n to be delivered.
func (c *crowd) commands(n int) []commands.Envelope {
	var out []commands.Envelope
	for len(out) < n {
		switch roll := c.rng.IntN(20); {
		case roll < 2 && len(c.sent) > 0:
			out = append(out, c.sent[c.rng.IntN(len(c.sent))]) // once more
			continue
		case roll < 3 && len(c.sent) > 0:
			env := c.make()
			env.ID = c.sent[c.rng.IntN(len(c.sent))].ID // somebody else's id
			env = commands.Seal(env.Command, env.ReceivedAt)
			out = append(out, env)
			continue
		case roll < 8:
			c.delayed = append(c.delayed, c.make())
			continue
		case roll < 11 && len(c.delayed) > 0:
			at := c.rng.IntN(len(c.delayed))
			env := c.delayed[at]
			c.delayed = append(c.delayed[:at], c.delayed[at+1:]...)
			out = append(out, env)
		default:
			out = append(out, c.make())
		}
		c.sent = append(c.sent, out[len(out)-1])
	}
	return out
}

// rest is what is still delayed.
func (c *crowd) rest() []commands.Envelope {
	c.rng.Shuffle(len(c.delayed), func(i, j int) { c.delayed[i], c.delayed[j] = c.delayed[j], c.delayed[i] })
	c.sent = append(c.sent, c.delayed...)
	return c.delayed
}

func (c *crowd) make() commands.Envelope {
	name := string(rune('a' + min(c.rng.IntN(4), c.rng.IntN(4))))
	if c.streams == nil {
		c.streams = map[string]*belief{}
	}
	b := c.streams[name]
	if b == nil {
		b = &belief{last: commands.Genesis}
		c.streams[name] = b
	}
	cmd := commands.Command{ID: c.id(b), Stream: commands.Stream{Type: "tally", ID: name}, Type: c.kind(),
		Session: []string{"", "ann", "bob"}[c.rng.IntN(3)], Data: strconv.AppendInt(nil, int64(1+c.rng.IntN(9)), 10)}
	cmd.Policy = []commands.Policy{commands.PolicySession, commands.PolicyStrict, commands.PolicyAny, commands.PolicyTicket,
		commands.PolicyTicket, commands.PolicyTicket, commands.PolicyTicket, commands.PolicyTicket}[c.rng.IntN(8)]
	cmd.Ticket = c.ticket(b, cmd.ID)
	b.last = cmd.ID
	b.all = append(b.all, cmd.ID)
	return commands.Seal(cmd, time.Now())
}

func (c *crowd) id(b *belief) commands.ID {
	if len(b.owed) > 0 && c.rng.IntN(2) == 0 {
		owed := b.owed[0]
		b.owed = b.owed[1:]
		return owed
	}
	c.newest++
	return id(c.newest)
}

func (c *crowd) ticket(b *belief, own commands.ID) commands.ID {
	switch roll := c.rng.IntN(40); {
	case roll < 3:
		return commands.Genesis
	case roll < 4:
		return own
	case roll < 8 && len(b.all) > 0:
		return b.all[c.rng.IntN(len(b.all))]
	case roll < 12:
		c.newest++
		b.owed = append(b.owed, id(c.newest))
		return id(c.newest)
	case roll < 13:
		return id(1 + c.rng.IntN(c.newest+5)) // of another stream, perhaps
	}
	return b.last
}

func (c *crowd) kind() string {
	switch roll := c.rng.IntN(200); {
	case roll < 120:
		return "add"
	case roll < 140:
		return "add_twice"
	case roll < 170:
		return "look"
	case roll < 180:
		return "refuse"
	case roll < 184:
		return "panic"
	case roll < 187:
		return "spoil"
	case roll < 191:
		return "poison"
	case roll < 194:
		return "unparkable"
	case roll < 195:
		return "endless"
	}
	return "juggle"
}
