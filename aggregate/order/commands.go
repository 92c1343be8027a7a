package order

import "github.com/ticketed/doorman/aggregate"

// MaxLines is how many lines an order may have. With the bounds of the schemas it keeps every total
// below 2^53 cents, which all JSON readers take exactly.
const MaxLines = 500

// The codes of refusals.
const (
	NotDraft     = "not_draft"     // lines change, and an order is submitted, only while it is a draft
	NotSubmitted = "not_submitted" // only a submitted order is approved or refused
	Closed       = "closed"        // it has been approved or refused
	NoLines      = "no_lines"      // an order without lines cannot be submitted
	LineExists   = "line_exists"   // the article is on the order already
	NoSuchLine   = "no_such_line"  // the article is not on the order
	TooManyLines = "too_many_lines"
)

// The commands.
type (
	AddLine struct {
		SKU        string `json:"sku"`
		Qty        int64  `json:"qty"`
		PriceCents int64  `json:"price_cents"`
	}
	ChangeLine struct {
		SKU string `json:"sku"`
		Qty int64  `json:"qty"`
	}
	RemoveLine struct {
		SKU string `json:"sku"`
	}
	Submit  struct{}
	Approve struct{}
	Refuse  struct {
		Reason string `json:"reason"`
	}
	AssignOwner struct {
		Owner string `json:"owner"`
	}
)

// AddLine adds a line to a draft.
func (o Order) AddLine(c AddLine) ([]Event, error) {
	switch {
	case o.Status != Draft:
		return nil, o.refuseNotDraft()
	case o.line(c.SKU) >= 0:
		return nil, aggregate.Refuse(LineExists, "%s is on the order already; change that line", c.SKU)
	case len(o.Lines) == MaxLines:
		return nil, aggregate.Refuse(TooManyLines, "an order has %d lines at most", MaxLines)
	}
	return []Event{LineAdded(c)}, nil
}

// ChangeLine changes the quantity of a line.
func (o Order) ChangeLine(c ChangeLine) ([]Event, error) {
	at := o.line(c.SKU)
	switch {
	case o.Status != Draft:
		return nil, o.refuseNotDraft()
	case at < 0:
		return nil, refuseNoSuchLine(c.SKU)
	case o.Lines[at].Qty == c.Qty:
		return nil, nil // it is so already: nothing happens
	}
	return []Event{LineChanged(c)}, nil
}

// RemoveLine takes a line off.
func (o Order) RemoveLine(c RemoveLine) ([]Event, error) {
	switch {
	case o.Status != Draft:
		return nil, o.refuseNotDraft()
	case o.line(c.SKU) < 0:
		return nil, refuseNoSuchLine(c.SKU)
	}
	return []Event{LineRemoved(c)}, nil
}

// Submit hands the order in.
func (o Order) Submit(Submit) ([]Event, error) {
	switch {
	case o.Status != Draft:
		return nil, o.refuseNotDraft()
	case len(o.Lines) == 0:
		return nil, aggregate.Refuse(NoLines, "an order without lines cannot be submitted")
	}
	return []Event{OrderSubmitted{}}, nil
}

// Approve approves the order.
func (o Order) Approve(Approve) ([]Event, error) {
	if o.Status != Submitted {
		return nil, o.refuseNotSubmitted()
	}
	return []Event{OrderApproved{}}, nil
}

// Refuse refuses the order.
func (o Order) Refuse(c Refuse) ([]Event, error) {
	if o.Status != Submitted {
		return nil, o.refuseNotSubmitted()
	}
	return []Event{OrderRefused(c)}, nil
}

// AssignOwner gives the order to somebody.
func (o Order) AssignOwner(c AssignOwner) ([]Event, error) {
	switch {
	case o.closed():
		return nil, aggregate.Refuse(Closed, "the order is %s; its owner stays", o.Status)
	case o.Owner == c.Owner:
		return nil, nil
	}
	return []Event{OwnerAssigned(c)}, nil
}

func (o Order) refuseNotDraft() error {
	return aggregate.Refuse(NotDraft, "the order is %s; only a draft can be changed", o.Status)
}

func (o Order) refuseNotSubmitted() error {
	return aggregate.Refuse(NotSubmitted, "the order is %s; only a submitted one can be decided on", o.Status)
}

func refuseNoSuchLine(sku string) error {
	return aggregate.Refuse(NoSuchLine, "%s is not on the order", sku)
}
