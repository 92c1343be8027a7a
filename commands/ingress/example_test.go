package ingress_test

import (
	"context"
	"fmt"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/vetting"
)

// inHand is a message of some broker's.
type inHand struct{ message commands.Message }

func (d *inHand) Message() *commands.Message { return &d.message }
func (d *inHand) Settle()                    { fmt.Println("settled") }
func (d *inHand) Lost() bool                 { return false }

// An ingress knows neither broker nor types nor store: each is handed in.
func Example() {
	in, err := ingress.New(ingress.Config{
		Rules: vetting.Rules{Allows: func(streamType string, _ commands.Policy, _ string) (known, allowed bool) {
			return streamType == "order", true
		}},
		SendAll: func(envs []*commands.Envelope, done func(i int, err error)) {
			for i, env := range envs {
				fmt.Println("sent:", env.Stream, env.Type, "by", env.Actor)
				done(i, nil)
			}
		},
		Ready: func() error { return nil },
		Bury: func(_ context.Context, refused []ingress.Refused) error {
			for _, r := range refused {
				fmt.Println("kept:", string(r.Body))
			}
			return nil
		},
		Reply: func(_ context.Context, replies []ingress.Reply) error {
			for _, r := range replies {
				fmt.Println("told", r.To+":", r.Problem)
			}
			return nil
		},
		Reserved: "doorman.",
	})
	if err != nil {
		panic(err)
	}
	in.Start()
	in.Take([]ingress.Delivery{&inHand{commands.Message{
		Body:   []byte(`[{"stream":"order/42","type":"submit","ticket":"genesis"},{"stream":"invoice/1","type":"send","ticket":"genesis"}]`),
		UserID: "billing", ReplyTo: "billing.answers",
	}}})
	if err := in.Stop(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// sent: order/42 submit by billing
	// kept: {"stream":"invoice/1","type":"send","ticket":"genesis"}
	// told billing.answers: unknown_type: no streams of the type invoice are kept here
	// settled
}
