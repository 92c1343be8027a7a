package deploy

import (
	"context"
	"errors"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/ingress"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/commands/vetting"
)

// submitting takes messages in that an operator hands over, rather than a broker.
type submitting struct {
	messages *ingress.Ingress
	taking   func() error
}

var errNobodysMessage = errors.New("what an operator hands over is neither kept nor answered here")

func (p *Program) newSubmitting(c clients) (*submitting, error) {
	in, err := ingress.New(ingress.Config{
		Rules:   vetting.Rules{Allows: p.allows},
		SendAll: c.sender.SendAll, Ready: c.taking,
		Bury:     func(context.Context, []ingress.Refused) error { return errNobodysMessage },
		Reply:    func(context.Context, []ingress.Reply) error { return errNobodysMessage },
		Reserved: p.config.RabbitMQPrefix + ".", Log: p.log,
	})
	return &submitting{in, c.taking}, err
}

// submit takes a refused message in as if it had just come; see admin.Config.
func (s *submitting) submit(ctx context.Context, m *store.Message, fallback commands.ID) (commands.ID, error) {
	if err := s.taking(); err != nil {
		return commands.None, problem.New(commands.Unavailable, err.Error())
	}
	message := commands.Message{
		Body: m.Body, Size: m.Size, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, MessageID: m.MessageID,
		CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo, UserID: m.UserID, Exchange: m.Exchange, RoutingKey: m.RoutingKey,
	}
	if message.MessageID == "" {
		message.MessageID = fallback.String()
	}
	verdicts, err := s.messages.Submit(ctx, &message)
	if err != nil {
		return commands.None, problem.New(refusal(err), err.Error())
	}
	for _, verdict := range verdicts {
		if verdict.Refused != nil {
			return commands.None, verdict.Refused
		}
	}
	return verdicts[0].ID, nil
}
