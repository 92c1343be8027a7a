package aggregatetest_test

import (
	"fmt"

	"github.com/ticketed/doorman/aggregate/aggregatetest"
	"github.com/ticketed/doorman/aggregate/order"
)

// In a test, t is the *testing.T. This one prints what a test would fail with.
func ExampleFor() {
	var t printer
	draft := aggregatetest.For(t, order.Type()).
		Given(order.LineAdded{SKU: "A1", Qty: 2, PriceCents: 1250})

	draft.
		When("submit", nil).
		Then(order.OrderSubmitted{}).
		When("remove_line", order.RemoveLine{SKU: "A1"}).
		ThenRefused("not_draft")

	draft.
		When("add_line", map[string]any{"sku": "B2", "qty": 0, "price_cents": 1}).
		ThenInvalid("/qty")

	draft.
		When("change_line", order.ChangeLine{SKU: "A1", Qty: 2}).
		Then(order.LineChanged{SKU: "A1", Qty: 2})
	// Output:
	// change_line was expected to land with
	//   line_changed {"sku":"A1","qty":2}
	// it landed with no events
}

type printer struct{}

func (printer) Helper()                           {}
func (printer) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
