package aggregate_test

import (
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

var (
	streamsDrawn  = []commands.Stream{allStreams[0], allStreams[0], allStreams[0], allStreams[1], allStreams[1], allStreams[2]}
	sessionsDrawn = []string{"", "ann", "bob"}
	kindsDrawn    = []string{"add", "add", "add", "add", "add", "add", "add_twice", "add_twice", "look", "look", "look", "add_to_even",
		"add_to_even", "garble", "panic", "break", "poison", "flood", "juggle"}
	policiesDrawn = []commands.Policy{commands.PolicyTicket, commands.PolicyTicket, commands.PolicyTicket, commands.PolicyTicket,
		commands.PolicySession, commands.PolicySession, commands.PolicyStrict, commands.PolicyAny}
)

// drawer draws commands whose ids and tickets have much to do with one another.
type drawer struct {
	used   []commands.Envelope
	next   int // ids from here on were not used, but maybe named
	coming []commands.Command
}

// tangle draws a few commands of one stream that wait on one another, to come in any order among others.
func (d *drawer) tangle(t *rapid.T, m *model) {
	if len(d.coming) > 0 {
		return
	}
	n := rapid.IntRange(3, 6).Draw(t, "members")
	stream := rapid.SampledFrom(streamsDrawn).Draw(t, "stream")
	var ids []commands.ID
	for at := d.next; len(ids) < n; at++ {
		if !d.isUsed(numbered(at)) {
			ids = append(ids, numbered(at))
		}
	}
	for i, id := range ids {
		c := d.plain(t, id, stream)
		before := i - 1 - rapid.SampledFrom([]int{0, 0, 1, 2, -2}).Draw(t, "skip") // -2 names one after it
		c.Ticket = m.head(stream)
		if before >= 0 && before < n {
			c.Ticket = ids[before]
		}
		d.coming = append(d.coming, c)
	}
	if oneIn(t, 3, "loop") {
		d.coming[0].Ticket = d.coming[n-1].ID
	}
	d.coming = rapid.Permutation(d.coming).Draw(t, "order")
	d.next += n
}

func (d *drawer) plain(t *rapid.T, id commands.ID, stream commands.Stream) commands.Command {
	return commands.Command{ID: id, Stream: stream,
		Type: rapid.SampledFrom(kindsDrawn).Draw(t, "type"), Policy: rapid.SampledFrom(policiesDrawn).Draw(t, "policy"),
		Session: rapid.SampledFrom(sessionsDrawn).Draw(t, "session"), Actor: "someone",
		Data: strconv.AppendInt(nil, int64(rapid.IntRange(1, 3).Draw(t, "n")), 10)}
}

const far = 4 // how far ahead a ticket may name what has not been sent

func (d *drawer) command(t *rapid.T, m *model) commands.Envelope {
	recent := d.used[max(0, len(d.used)-14):]
	if len(recent) > 0 && oneIn(t, 10, "again") {
		env := rapid.SampledFrom(recent).Draw(t, "of these")
		env.Session = rapid.SampledFrom(sessionsDrawn).Draw(t, "session") // is no part of the payload
		return env
	}
	if len(d.coming) > 0 && rapid.Bool().Draw(t, "of the tangle") {
		c := d.coming[0]
		d.coming = d.coming[1:]
		return d.seal(&c, m.now)
	}
	c := d.plain(t, d.ahead(t, "id", commands.None), rapid.SampledFrom(streamsDrawn).Draw(t, "stream"))
	if len(recent) > 0 && oneIn(t, 16, "taken id") {
		c.ID = rapid.SampledFrom(recent).Draw(t, "of these").ID
	}
	if wanted := d.waitedFor(m, c.Stream); len(wanted) > 0 && rapid.Bool().Draw(t, "wanted") {
		c.ID = rapid.SampledFrom(wanted).Draw(t, "id of these")
	}
	c.Ticket = d.ticket(t, m, &c, recent)
	return d.seal(&c, m.now)
}

func (d *drawer) seal(c *commands.Command, at time.Time) commands.Envelope {
	env := commands.Seal(*c, at)
	env.ReplyTo, env.CorrelationID, env.TraceParent = "queue", "c"+strconv.Itoa(len(d.used)), "trace"
	d.used = append(d.used, env)
	for d.isUsed(numbered(d.next)) {
		d.next++
	}
	return env
}

func (d *drawer) ticket(t *rapid.T, m *model, c *commands.Command, recent []commands.Envelope) commands.ID {
	if c.Policy == commands.PolicyAny && rapid.Bool().Draw(t, "without a ticket") {
		return commands.None
	}
	var here []commands.ID // parked on this stream
	for _, w := range m.waiting {
		if w.env.Stream == c.Stream {
			here = append(here, w.env.ID)
		}
	}
	switch rapid.SampledFrom([]string{"head", "ahead", "parked", "wanted", "head", "parked", "recent", "odd"}).Draw(t, "ticket") {
	case "ahead":
		return d.ahead(t, "ticket id", c.ID)
	case "parked":
		if len(here) > 0 {
			return rapid.SampledFrom(here).Draw(t, "ticket of the parked")
		}
	case "wanted":
		if wanted := slices.DeleteFunc(d.waitedFor(m, c.Stream), func(id commands.ID) bool { return id == c.ID }); len(wanted) > 0 {
			return rapid.SampledFrom(wanted).Draw(t, "ticket of the wanted")
		}
	case "recent":
		if len(recent) > 0 {
			return rapid.SampledFrom(recent).Draw(t, "ticket of these").ID
		}
	case "odd":
		return rapid.SampledFrom([]commands.ID{commands.Genesis, commands.Genesis, c.ID}).Draw(t, "odd ticket")
	}
	return m.head(c.Stream)
}

// waitedFor lists what the parked commands of a stream wait for and nobody has sent.
func (d *drawer) waitedFor(m *model, stream commands.Stream) (all []commands.ID) {
	for _, w := range m.waiting {
		if w.env.Stream == stream && !d.isUsed(w.env.Ticket) {
			all = append(all, w.env.Ticket)
		}
	}
	return all
}

func (d *drawer) isUsed(id commands.ID) bool {
	return slices.ContainsFunc(d.used, func(e commands.Envelope) bool { return e.ID == id })
}

// ahead draws an id that no command had yet; a few of those are drawn again and again.
func (d *drawer) ahead(t *rapid.T, label string, except commands.ID) commands.ID {
	for n := d.next + rapid.IntRange(0, far).Draw(t, label); ; n++ {
		if id := numbered(n); id != except && !d.isUsed(id) {
			return id
		}
	}
}

func numbered(n int) commands.ID { return commands.ID{0: 'A' + byte(n/100), 15: byte(n % 100)} }

func oneIn(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == n }
