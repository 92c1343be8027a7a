package ingress

import (
	"context"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// Verdict is what became of one command of a message that was submitted.
type Verdict struct {
	ID      commands.ID      // of the command, where it is known
	Refused *problem.Problem // nil: it is accepted
}

// Submit takes a message from an operator, by the same rules, and waits until it is known of each of its commands
// whether it is accepted. Nothing is buried or replied here: the operator is told. A message that cannot be read as a
// whole has one verdict. An error says that the bus did not take everything, or that the context ended before it had
// answered: what was sent under ids of its own may be submitted again.
func (in *Ingress) Submit(ctx context.Context, m *commands.Message) ([]Verdict, error) {
	p := &parcel{message: m}
	if in.read(p); p.refused != nil {
		return []Verdict{{Refused: p.refused}}, nil //nolint:nilerr // it is the verdict
	}
	var send batch
	if n := send.add(p); n > 0 {
		if err := in.config.Ready(); err != nil {
			return nil, err
		}
		answers := make(chan error, n)
		in.config.SendAll(send.envs, func(_ int, err error) { answers <- err })
		for range n {
			var err error
			select {
			case err = <-answers:
			case <-ctx.Done():
				select {
				case err = <-answers: // just in time
				default:
					err = context.Cause(ctx)
				}
			}
			if err != nil {
				return nil, err
			}
		}
	}
	verdicts := make([]Verdict, len(p.commands))
	for i := range p.commands {
		verdicts[i] = Verdict{ID: p.commands[i].Env.ID, Refused: p.commands[i].Refused}
	}
	return verdicts, nil
}
