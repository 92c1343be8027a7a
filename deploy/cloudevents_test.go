package deploy

import (
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/deploy/cloudeventstest"
)

// DESIGN section 4: whoever reads CloudEvents reads ours, and a repeat is the same event: here all of them are
// published twice, as after a crash of a worker that had not saved how far it was.
func TestEventsAreCloudEventsAndRepeatsTheSameOnes(t *testing.T) {
	t.Parallel()
	config, _, _ := overRabbitMQ(t)
	first, call := start(t, config)
	service := newTap(t, config.RabbitMQPrefix)
	const streams, length = 5, 4
	for range streams {
		c := create(`{"n":0}`)
		c.Stream.ID = commands.NewID().String()
		for range length {
			told, err := call.Send(t.Context(), c, client.SendOptions{Wait: time.Minute})
			require.NoError(t, err)
			require.Equal(t, commands.StatusLanded, told.Status)
			c.Ticket, c.ID = c.ID, commands.NewID()
			c.Type, c.Data = "patch", []byte(`{"n":`+strconv.FormatUint(told.Version, 10)+`}`)
		}
	}
	require.NoError(t, first.Stop())
	_, err := postgrestest.Connect(t).Exec(t.Context(), `update `+config.PostgresSchema+`.relays set position = 0`)
	require.NoError(t, err)
	start(t, config)
	came := service.await("all of it twice", func(came []amqp.Delivery) bool { return len(came) >= 2*2*streams*length })

	newest, seen := map[string]int{}, map[string]string{}
	log := wholeLog(t, config)
	require.Len(t, log, streams*length)
	for _, d := range came {
		if d.Exchange != config.RabbitMQPrefix+"."+bus.EventsExchange {
			continue
		}
		e, err := cloudeventstest.Read(d.Headers, d.ContentType, d.Body)
		require.NoError(t, err)
		require.Equal(t, d.MessageId, e.ID())
		position, err := commands.ParsePosition(e.Extensions()["position"].(string))
		require.NoError(t, err)
		o := log[position.N-1]
		require.Equal(t, o.Stream.String(), e.Subject())
		require.Equal(t, o.Events[0].Type, e.Type())
		require.Equal(t, o.At, e.Time())
		require.Equal(t, string(o.Events[0].Data), string(e.Data()))
		require.Equal(t, o.ID.String(), e.Extensions()["causationid"])
		sequence, err := strconv.Atoi(e.Extensions()["sequence"].(string))
		require.NoError(t, err)
		require.EqualValues(t, o.Version, sequence)
		if before, repeated := seen[e.ID()]; repeated {
			require.Equal(t, before, e.String(), "a repeat is the same event in all that it says")
			continue
		}
		require.Equal(t, newest[e.Subject()]+1, sequence, "first deliveries of a stream in order")
		seen[e.ID()], newest[e.Subject()] = e.String(), sequence
	}
	require.Len(t, seen, streams*length)
}
