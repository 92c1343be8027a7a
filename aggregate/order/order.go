// Package order is a purchase order, and the example to copy when writing a type of your own.
//
// An order begins as a draft, collects lines, and is submitted; then it is approved or refused, which
// closes it. Whoever owns it can be changed at any time before that, by a power user without a ticket:
// assign_owner is the one command that may be sent with policy any.
//
//	draft --submit--> submitted --approve--> approved
//	                            --refuse---> refused
//
// # How it is written
//
// Three files, to be read in this order. This one has the state and puts the type together. events.go has
// what can happen, and what each event makes of the state. commands.go has what can be asked for, and the
// rules: each is a method that looks at the order and answers with events or a refusal.
//
// Methods with value receivers on small structs keep all of it pure: nothing here does I/O, reads a clock
// or changes what it was given. So a test is a function call, or a story told with aggregatetest.
//
// Money is in whole cents: a price has no rounding to argue about.
package order

import (
	"slices"
	"sync"

	"github.com/ticketed/doorman/aggregate"
)

// Order is the state: all that the rules need to know, and what is shown to whoever reads the stream.
type Order struct {
	Status     Status `json:"status"`
	Owner      string `json:"owner,omitempty"`
	Lines      []Line `json:"lines"`
	TotalCents int64  `json:"total_cents"`
	Reason     string `json:"reason,omitempty"` // why it was refused
}

// Line is one article that is ordered. An article stands on one line only.
type Line struct {
	SKU        string `json:"sku"`
	Qty        int64  `json:"qty"`
	PriceCents int64  `json:"price_cents"` // of one piece
}

// Status is how far an order has come.
type Status string

// The statuses.
const (
	Draft     Status = "draft"
	Submitted Status = "submitted"
	Approved  Status = "approved"
	Refused   Status = "refused"
)

// Type is the aggregate type "order".
func Type() *aggregate.Typed[Order, Event] { return built() }

var built = sync.OnceValue(func() *aggregate.Typed[Order, Event] {
	t := aggregate.Define[Event]("order", Order{Status: Draft, Lines: []Line{}}, aggregate.Settings{
		Policies: []aggregate.Policy{aggregate.PolicyStrict, aggregate.PolicySession},
	})

	aggregate.Handle(t, "add_line", Order.AddLine,
		aggregate.Doc("Adds a line to a draft."),
		aggregate.Schema(addLineSchema),
		aggregate.Example(`{"sku":"A1","qty":2,"price_cents":1250}`))
	aggregate.Handle(t, "change_line", Order.ChangeLine,
		aggregate.Doc("Changes how many pieces a line of a draft asks for."),
		aggregate.Schema(changeLineSchema),
		aggregate.Example(`{"sku":"A1","qty":3}`))
	aggregate.Handle(t, "remove_line", Order.RemoveLine,
		aggregate.Doc("Takes a line off a draft."),
		aggregate.Schema(removeLineSchema),
		aggregate.Example(`{"sku":"A1"}`))
	aggregate.Handle(t, "submit", Order.Submit,
		aggregate.Doc("Hands a draft in for approval."),
		aggregate.Schema(nothingSchema),
		aggregate.Example(`{}`))
	aggregate.Handle(t, "approve", Order.Approve,
		aggregate.Doc("Approves a submitted order, which closes it."),
		aggregate.Schema(nothingSchema),
		aggregate.Example(`{}`))
	aggregate.Handle(t, "refuse", Order.Refuse,
		aggregate.Doc("Refuses a submitted order, which closes it."),
		aggregate.Schema(refuseSchema),
		aggregate.Example(`{"reason":"Over budget"}`))
	aggregate.Handle(t, "assign_owner", Order.AssignOwner,
		aggregate.Doc("Gives an order that is not closed to somebody else."),
		aggregate.Schema(assignOwnerSchema),
		aggregate.Example(`{"owner":"Ann"}`),
		aggregate.Allow(aggregate.PolicyAny))

	aggregate.On(t, "line_added", Order.lineAdded)
	aggregate.On(t, "line_changed", Order.lineChanged)
	aggregate.On(t, "line_removed", Order.lineRemoved)
	aggregate.On(t, "submitted", Order.submitted)
	aggregate.On(t, "approved", Order.approved)
	aggregate.On(t, "refused", Order.refused)
	aggregate.On(t, "owner_assigned", Order.ownerAssigned)

	aggregate.Upcast(t, "line_added", 1, LineAddedV1.inCents)

	return t.MustBuild()
})

// line is where an article stands in the order; -1 when it does not.
func (o Order) line(sku string) int {
	return slices.IndexFunc(o.Lines, func(l Line) bool { return l.SKU == sku })
}

func (o Order) closed() bool { return o.Status == Approved || o.Status == Refused }
