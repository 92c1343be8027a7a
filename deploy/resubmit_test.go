package deploy

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// taken is where commands go that a test submits.
type taken struct {
	commandSender
	all []*commands.Envelope
	err error
}

func (s *taken) SendAll(envs []*commands.Envelope, done func(int, error)) {
	s.all = append(s.all, envs...)
	for i := range envs {
		done(i, s.err)
	}
}

// A refused message is held against the same rules again, under the letter's id where it names none.
func TestARefusedMessageIsHeldAgainstTheRulesAgain(t *testing.T) {
	t.Parallel()
	types, err := aggregate.NewRegistry(builtIn()...)
	require.NoError(t, err)
	sent, away := &taken{}, error(nil)
	s, err := (&Program{config: Defaults(), types: types}).newSubmitting(clients{sender: sent, taking: func() error { return away }})
	require.NoError(t, err)
	own, other, fallback := commands.NewID(), commands.NewID(), commands.NewID()
	body := func(id string) string {
		return `{` + id + `"stream":"document/note","type":"create","ticket":"genesis","data":{}}`
	}
	for name, c := range map[string]struct {
		message store.Message
		want    commands.ID
	}{
		"its body's id":    {store.Message{Body: []byte(body(`"id":"` + own.String() + `",`)), MessageID: other.String()}, own},
		"its message's":    {store.Message{Body: []byte(body("")), MessageID: other.String()}, other},
		"that of a letter": {store.Message{Body: []byte(body("")), UserID: "shop", ReplyTo: "answers", CorrelationID: "c-1"}, fallback},
	} {
		sent.all = nil
		id, err := s.submit(t.Context(), &c.message, fallback)
		require.NoError(t, err, name)
		require.Equal(t, c.want, id, name)
		require.Len(t, sent.all, 1)
		require.Equal(t, id, sent.all[0].ID)
		require.Equal(t, c.message.UserID, sent.all[0].Actor)
		require.Equal(t, c.message.ReplyTo, sent.all[0].ReplyTo, "who sent it is answered after all")
		require.Equal(t, c.message.CorrelationID, sent.all[0].CorrelationID)
	}

	sent.all = nil
	refused := func(m store.Message) commands.Reason {
		_, err := s.submit(t.Context(), &m, fallback)
		p, ok := errors.AsType[*problem.Problem](err)
		require.True(t, ok, "%v", err)
		return p.Code
	}
	require.Equal(t, commands.UnknownType, refused(store.Message{Body: []byte(`{"stream":"bag/1","type":"add","ticket":"genesis"}`)}))
	require.Equal(t, commands.Malformed, refused(store.Message{Body: []byte(`{`)}))
	require.Equal(t, commands.Malformed, refused(store.Message{Body: []byte(body("")), ReplyTo: "doorman.lane.1"}))
	require.Empty(t, sent.all)
	for err, code := range map[error]commands.Reason{bus.ErrFull: commands.RateLimited, bus.ErrUnavailable: commands.Unavailable,
		bus.ErrFateUnknown: commands.FateUnknown, context.DeadlineExceeded: commands.FateUnknown} {
		sent.err = err
		require.Equal(t, code, refused(store.Message{Body: []byte(body(""))}))
	}
	away = errors.New("the number of lanes is being changed")
	require.Equal(t, commands.Unavailable, refused(store.Message{Body: []byte(body(""))}))
}
