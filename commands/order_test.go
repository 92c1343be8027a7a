package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnOrderSaysWhoGaveItAndWhy(t *testing.T) {
	t.Parallel()
	parked, stream := NewID(), Stream{Type: "order", ID: "42"}
	at := time.Date(2026, 3, 1, 12, 30, 0, 123456789, time.UTC)
	order := RejectOrder(parked, stream, "Olga", "a mistake", at)
	require.Equal(t, OrderReject, order.Order)
	require.Equal(t, parked, order.Ticket)
	require.Equal(t, stream, order.Stream)
	require.NotContains(t, []ID{None, parked}, order.ID, "it has an id of its own")
	require.Equal(t, at.Truncate(time.Microsecond), order.ReceivedAt)
	detail, err := order.OrderDetail()
	require.NoError(t, err)
	require.Equal(t, "rejected by Olga: a mistake", detail)

	longest := RejectOrder(parked, stream, strings.Repeat("ö", MaxActor), strings.Repeat("ö", MaxWhy), at)
	_, err = longest.OrderDetail()
	require.NoError(t, err)
	clone := order.Clone()
	require.Equal(t, order, clone, "a copy is one too")
}

// What comes over the bus may be from anybody, and is told to people and kept.
func TestAnOrderThatCannotBeToldIsNone(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Envelope){
		"knows no order number 0":          func(e *Envelope) { e.Order = NoOrder },
		"knows no order number 2":          func(e *Envelope) { e.Order = 2 },
		"does not say who":                 func(e *Envelope) { e.Actor = "" },
		"and why":                          func(e *Envelope) { e.Data = []byte{} },
		"are no UTF-8":                     func(e *Envelope) { e.Actor = "\xc3" },
		`"by" must be 256 characters`:      func(e *Envelope) { e.Actor = strings.Repeat("ö", MaxActor+1) },
		`"why" must be 1000 characters`:    func(e *Envelope) { e.Data = []byte(strings.Repeat("ö", MaxWhy+1)) },
		`"by" must not hold control`:       func(e *Envelope) { e.Actor = "a\u0085b" },
		`"why" must not hold control char`: func(e *Envelope) { e.Data = []byte("a\x00b") },
	} {
		order := RejectOrder(NewID(), Stream{Type: "order", ID: "42"}, "Olga", "a mistake", time.Now())
		change(&order)
		_, err := order.OrderDetail()
		require.ErrorContains(t, err, want)
	}
}
