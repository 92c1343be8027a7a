package rabbitmq

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus"
)

func TestHowOftenAMessageCameBackIsTheBrokersWordWhateverItsVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want    string
		headers amqp.Table
		flagged bool
	}{
		{"", amqp.Table{}, false},
		{"", amqp.Table{"x-delivery-count": int64(0)}, false},
		{"", amqp.Table{bus.DeliveriesKey: "7"}, false},
		{"", amqp.Table{"x-delivery-count": int64(100)}, false}, // whoever published it wrote that
		{"1", amqp.Table{}, true},
		{"3", amqp.Table{"x-delivery-count": int64(3)}, true},
		{"5", amqp.Table{"x-delivery-count": int64(1), "x-acquired-count": int32(5)}, true}, // 4.3
	} {
		m := unmarshal(&amqp.Delivery{Headers: c.headers, Redelivered: c.flagged})
		require.Equal(t, c.want, m.Metadata.Get(bus.DeliveriesKey), "%v", c.headers)
		require.Empty(t, marshal(m, 1).Headers, "nobody publishes it")
	}
}
