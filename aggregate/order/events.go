package order

import "slices"

// Event is what happens to an order. The method makes the set complete: nothing outside this package can
// be one.
type Event interface{ event() }

// The events. Their JSON is kept for ever, so a shape is never changed: a new version is added, and the
// old one is upcast.
type (
	LineAdded struct {
		SKU        string `json:"sku"`
		Qty        int64  `json:"qty"`
		PriceCents int64  `json:"price_cents"`
	}
	LineChanged struct {
		SKU string `json:"sku"`
		Qty int64  `json:"qty"`
	}
	LineRemoved struct {
		SKU string `json:"sku"`
	}
	OrderSubmitted struct{}
	OrderApproved  struct{}
	OrderRefused   struct {
		Reason string `json:"reason"`
	}
	OwnerAssigned struct {
		Owner string `json:"owner"`
	}
)

func (LineAdded) event()      {}
func (LineChanged) event()    {}
func (LineRemoved) event()    {}
func (OrderSubmitted) event() {}
func (OrderApproved) event()  {}
func (OrderRefused) event()   {}
func (OwnerAssigned) event()  {}

// LineAddedV1 is how line_added looked when prices were in whole units of the currency.
type LineAddedV1 struct {
	SKU   string `json:"sku"`
	Qty   int64  `json:"qty"`
	Price int64  `json:"price"`
}

func (v LineAddedV1) inCents() LineAdded {
	return LineAdded{SKU: v.SKU, Qty: v.Qty, PriceCents: v.Price * 100}
}

func (o Order) lineAdded(e LineAdded) Order {
	return o.withLines(append(slices.Clip(o.Lines), Line(e)))
}

func (o Order) lineChanged(e LineChanged) Order {
	lines := slices.Clone(o.Lines)
	lines[o.line(e.SKU)].Qty = e.Qty
	return o.withLines(lines)
}

func (o Order) lineRemoved(e LineRemoved) Order {
	at := o.line(e.SKU)
	return o.withLines(slices.Delete(slices.Clone(o.Lines), at, at+1))
}

func (o Order) submitted(OrderSubmitted) Order {
	o.Status = Submitted
	return o
}

func (o Order) approved(OrderApproved) Order {
	o.Status = Approved
	return o
}

func (o Order) refused(e OrderRefused) Order {
	o.Status, o.Reason = Refused, e.Reason
	return o
}

func (o Order) ownerAssigned(e OwnerAssigned) Order {
	o.Owner = e.Owner
	return o
}

// withLines is the order with other lines. The lines it had are somebody else's too, so each caller hands
// over a slice of its own.
func (o Order) withLines(lines []Line) Order {
	o.Lines, o.TotalCents = lines, 0
	for _, l := range lines {
		o.TotalCents += l.Qty * l.PriceCents
	}
	return o
}
