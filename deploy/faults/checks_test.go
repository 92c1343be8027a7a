//go:build unix

package faults

import (
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// The audit is only worth something if it finds what it is meant to find.

var checked = commands.Stream{Type: patientType, ID: "one"}

func requireFound(t *testing.T, found *complaints, what string) {
	t.Helper()
	all := found.take()
	require.Len(t, all, 1)
	require.Contains(t, all[0], what)
}

// committed is what landed on a stream: at 1 one event, at 2 two.
func committed() (rows []row, all map[commands.ID]*sent) {
	all = map[commands.ID]*sent{}
	for i, kind := range []string{"add", "add_twice"} {
		c := &commands.Command{ID: commands.NewID(), Stream: checked, Type: kind}
		all[c.ID] = &sent{Command: c}
		rows = append(rows, row{position: uint64(i + 1), version: uint64(2*i + 1), landed: true, id: c.ID, stream: checked})
	}
	return rows, all
}

func publishedEvent(version, position uint64) *amqp.Delivery {
	return &amqp.Delivery{Exchange: eventsExchange, MessageId: fmt.Sprintf("one-%d", version), Headers: amqp.Table{
		"cloudEvents_subject": checked.String(), "cloudEvents_sequence": fmt.Sprint(version), "cloudEvents_position": fmt.Sprintf("epoch-%d", position)}}
}

func TestTheAuditFindsWhatIsPublishedWrongly(t *testing.T) {
	t.Parallel()
	for what, versions := range map[string][]uint64{
		"":                                 {1, 2, 1, 2, 3, 3},
		"was published first after":        {1, 3, 2},
		"was published and has not commit": {1, 2, 3, 4},
	} {
		rows, all := committed()
		p := &published{found: &complaints{}, events: map[place]*told{}, outcomes: map[commands.ID]*told{}, newest: map[commands.Stream]told{}}
		p.expect(rows, all)
		p.outcomes = map[commands.ID]*told{}
		p.missing = len(p.events)
		for _, version := range versions {
			p.take(publishedEvent(version, min(version, 2)))
		}
		require.Zero(t, p.missing)
		if what == "" {
			require.Empty(t, p.found.take())
			continue
		}
		require.Contains(t, strings.Join(p.found.take(), "\n"), what)
	}
	rows, all := committed()
	p := &published{found: &complaints{}, events: map[place]*told{}, outcomes: map[commands.ID]*told{}, newest: map[commands.Stream]told{}}
	p.expect(rows, all)
	p.take(publishedEvent(1, 1))
	require.Equal(t, 4, p.missing, "two events and two outcomes")
	require.NotEqual(t, "none", p.example())
}

func TestTheAuditFindsHolesInTheLog(t *testing.T) {
	t.Parallel()
	j := &journal{complaints: &complaints{}, grown: make(chan struct{}), known: map[commands.ID]uint64{}}
	rows, _ := committed()
	j.take(rows)
	require.Empty(t, j.complaints.take())
	require.EqualValues(t, 2, j.head())
	j.take([]row{{position: 4, id: commands.NewID()}})
	requireFound(t, j.complaints, "position 4 was seen before 3")
	j.take([]row{{position: 3, id: rows[0].id}})
	requireFound(t, j.complaints, "has the positions 1 and 3")
}

func TestTheAuditFindsWhatAReaderIsNotTold(t *testing.T) {
	t.Parallel()
	rows, all := committed()
	var list []*sent
	for _, s := range all {
		s.Session = "mine"
		list = append(list, s)
	}
	told := func(position, version uint64, id commands.ID, events string) *contracttest.Block {
		return &contracttest.Block{Event: commands.PushState, Data: []byte(fmt.Sprintf(
			`{"stream":%q,"version":%d,"ticket":%q,"state":{"count":%d},"position":"epoch-%d","events":[%s]}`,
			checked, version, id, version, position, events))}
	}
	event := func(version uint64) string { return fmt.Sprintf(`{"version":%d,"data":{"n":1}}`, version) }
	newReader := func() *reader {
		return &reader{name: "a reader", deliver: "events", session: "mine", streams: []commands.Stream{checked}, found: &complaints{},
			moved: make(chan struct{}), known: map[commands.Stream]*known{checked: {}}, own: map[commands.ID]settled{}, heard: map[commands.ID][]string{}}
	}
	r := newReader()
	r.take(told(1, 1, rows[0].id, event(1)))
	r.take(told(2, 3, rows[1].id, event(2)+","+event(3)))
	for _, o := range rows {
		r.take(&contracttest.Block{Event: commands.PushLanded, Data: []byte(fmt.Sprintf(`{"id":%q,"position":"epoch-%d"}`, o.id, o.position))})
	}
	r.check(list, rows)
	require.Empty(t, r.found.take())

	r = newReader()
	r.take(told(2, 3, rows[1].id, event(3)))
	require.Contains(t, strings.Join(r.found.take(), "\n"), "a hole")
	r.check(list, rows)
	missed := strings.Join(r.found.take(), "\n")
	require.Contains(t, missed, "was told the landings [2]")
	require.Equal(t, 2, strings.Count(missed, "was not told that"))

	r = newReader()
	r.opened = 1
	parked := &contracttest.Block{Event: commands.PushParked, Data: []byte(fmt.Sprintf(`{"id":%q}`, rows[0].id))}
	landed := &contracttest.Block{Event: commands.PushLanded, Data: []byte(fmt.Sprintf(`{"id":%q,"position":"epoch-1"}`, rows[0].id))}
	for _, b := range []*contracttest.Block{parked, landed} {
		r.take(b)
	}
	require.Empty(t, r.found.take())
	r.take(parked)
	require.Contains(t, strings.Join(r.found.take(), "\n"), "is told to be parked after it was landed")
	r.opened++
	r.take(parked)
	require.Empty(t, r.found.take(), "what came after the mark is repeated on the next connection")
	r.from = 1
	r.take(parked)
	require.Contains(t, strings.Join(r.found.take(), "\n"), "is told to be parked after it was landed")
}
