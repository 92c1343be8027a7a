package commands_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func landing(t *testing.T) *commands.Outcome {
	t.Helper()
	id, ok := commands.ParseID("01977b2e-5b0c-7d31-9d3c-6f1a2b3c4d5e")
	require.True(t, ok)
	return &commands.Outcome{
		Position: 7, ID: id, Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_lines", Version: 5,
		Session: "a secret", At: time.Date(2026, 11, 22, 8, 15, 30, 250_000, time.UTC),
		Events: []commands.Event{{Type: "line_added", Data: []byte(`{"sku": "A1"}`)}, {Type: "totalled", Data: []byte(`{}`)}},
	}
}

// DESIGN section 4, doorman.events: CloudEvents 1.0 attributes as headers, _sequence = version, _subject = stream.
func TestAnEventHasItsCloudEventsAttributes(t *testing.T) {
	t.Parallel()
	o := landing(t)
	e := commands.NewCloudEvent("doorman/e1", "e1", o, 1)
	require.Equal(t, "{}", string(e.Data))
	require.Equal(t, map[string]any{
		"cloudEvents_specversion": "1.0", "cloudEvents_id": "e1-7.1", "cloudEvents_source": "doorman/e1",
		"cloudEvents_type": "totalled", "cloudEvents_subject": "order/42", "cloudEvents_time": "2026-11-22T08:15:30.000250Z",
		"cloudEvents_sequence": "5", "cloudEvents_sequencetype": "Integer", "cloudEvents_position": "e1-7",
		"cloudEvents_correlationid": o.ID.String(), "cloudEvents_causationid": o.ID.String(),
	}, e.Headers())
	first := commands.NewCloudEvent("doorman/e1", "e1", o, 0)
	require.Equal(t, "e1-7.0", first.ID)
	require.Equal(t, "4", first.Sequence)
}

func TestAnEventCarriesItsSendersCorrelationAndTrace(t *testing.T) {
	t.Parallel()
	o := landing(t)
	o.CorrelationID, o.TraceParent = "c-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e := commands.NewCloudEvent("doorman/e1", "e1", o, 0)
	headers := e.Headers()
	require.Equal(t, "c-1", headers["cloudEvents_correlationid"])
	require.Equal(t, o.ID.String(), headers["cloudEvents_causationid"])
	require.Equal(t, o.TraceParent, headers["traceparent"])
}

// DESIGN section 4: <stream type>.<event type>, and AMQP takes no more than 255 bytes.
func TestRoutingKeys(t *testing.T) {
	t.Parallel()
	require.Equal(t, "order.line_added", commands.EventKey("order", "line_added"))
	long := strings.Repeat("a", commands.MaxNamePart)
	require.Len(t, commands.EventKey(long, long), 255)
	o := landing(t)
	require.Equal(t, "order.landed", commands.OutcomeKey(o))
	o.Reason = commands.StaleTicket
	require.Equal(t, "order.rejected", commands.OutcomeKey(o))
}

func ExampleNewCloudEvent() {
	o := &commands.Outcome{Position: 7, Stream: commands.Stream{Type: "order", ID: "42"}, Version: 3,
		At: time.Date(2026, 11, 22, 8, 15, 30, 0, time.UTC), Events: []commands.Event{{Type: "line_added", Data: []byte(`{"qty":2}`)}}}
	e := commands.NewCloudEvent("doorman/5f2c", "5f2c", o, 0)
	fmt.Println(commands.EventKey(o.Stream.Type, e.Type), e.ID, e.Subject, e.Sequence, string(e.Data))
	// Output: order.line_added 5f2c-7.0 order/42 3 {"qty":2}
}
