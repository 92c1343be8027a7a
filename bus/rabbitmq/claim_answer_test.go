package rabbitmq

import (
	"errors"
	"log/slog"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// What brokers of other versions and in clusters answer to a claim.
func TestAnswersToAClaim(t *testing.T) {
	t.Parallel()
	config := Config{Prefix: "p", Logger: slog.New(slog.DiscardHandler)}
	const differs = "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-routing-key' for queue 'p.epoch' in vhost '/'"
	another := "the names there that begin with p. belong to another log"
	for name, tt := range map[string]struct {
		answer  error
		claimed bool
		want    string // empty: go on
	}{
		"taken":                  {nil, false, ""},
		"another log's":          {&amqp.Error{Code: 406, Reason: differs + ": received 'b' but current is 'a'"}, true, another + " (epoch a), as the queue p.epoch says"},
		"another log's, in type": {&amqp.Error{Code: 406, Reason: differs + ": received the value 'b' of type 'longstr' but current is the value 'a' of type 'longstr'"}, true, another + " (epoch a), as the queue p.epoch says"},
		"a queue of that name":   {&amqp.Error{Code: 406, Reason: differs + ": received 'b' but current is none"}, true, another + ", as the queue p.epoch says"},
		"something else":         {&amqp.Error{Code: 406, Reason: "inequivalent arg 'x-queue-type'"}, false, `queue p.epoch: Exception (406) Reason: "inequivalent arg 'x-queue-type'"`},
		"a node is away":         {&amqp.Error{Code: 404, Reason: "NOT_FOUND - home node 'b@h' of durable queue 'p.epoch' in vhost '/' is down or inaccessible"}, false, ""},
		"no right":               {&amqp.Error{Code: 403, Reason: "ACCESS_REFUSED"}, false, `queue p.epoch: Exception (403) Reason: "ACCESS_REFUSED"`},
		"no answer":              {amqp.ErrClosed, false, `queue p.epoch: Exception (504) Reason: "channel/connection is not open"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := config.claimed("p.epoch", tt.answer)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, err, tt.answer)
			require.Equal(t, tt.claimed, errors.As(err, new(*ClaimedError)))
		})
	}
}
