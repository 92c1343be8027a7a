package ingress_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// Whatever comes is settled once, each of its commands is accepted or kept, and whoever asked is answered.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(command(first)), "application/json", "", second, "billing.answers", "17", "billing", "traceparent", trace, 0, 0)
	f.Add([]byte("["+command(first)+`,7,{"stream":"order/42"}]`), "", "identity", "x", "doorman.lane.3", "\xff", "\xff", "\x00", "\x00", 1<<20, 3)
	f.Add([]byte("{"), "text/plain", "gzip", "", "", "", "", "", "", -1, 15)
	f.Add([]byte(`[`+strings.Repeat(command(first)+",", 3)+command(second)+`]`), "", "", "", "amq.rabbitmq.reply-to.x", "", "a\nb", "a", "b", 0, 1)
	f.Fuzz(func(t *testing.T, body []byte, contentType, encoding, messageID, replyTo, correlation, user, header, value string, size, deliveries int) {
		w := newWorld(t).start()
		m := commands.Message{
			Body: body, Size: size, ContentType: contentType, ContentEncoding: encoding, MessageID: messageID, ReplyTo: replyTo,
			CorrelationID: correlation, UserID: user, Headers: map[string]any{header: value}, Deliveries: deliveries,
		}
		d := w.give(m)[0]
		require.NoError(t, w.in.Stop(t.Context()))
		require.True(t, d.isSettled())
		items := 1
		var elements []json.RawMessage
		if read, err := commands.DecodeRequest(body, commands.DefaultBodyLimits); err == nil && read.Array {
			require.NoError(t, json.Unmarshal(body, &elements))
			items = len(elements)
		}
		if len(w.buried) == 1 && len(w.sent) == 0 && w.buried[0].Item == -1 {
			items = 1 // refused as a whole
		}
		require.Equal(t, items, len(w.sent)+len(w.buried))
		for i := range w.buried {
			r := &w.buried[i]
			require.NotEmpty(t, r.Problem.Code)
			if properties := r.Properties(); properties != nil {
				require.True(t, json.Valid(properties), "%s", properties)
			}
			if r.Item >= 0 {
				require.JSONEq(t, string(elements[r.Item]), string(r.Body))
			}
		}
		if replyTo == "" || strings.HasPrefix(replyTo, "doorman.") {
			require.Empty(t, w.replies)
		} else {
			require.Len(t, w.replies, len(w.buried))
		}
		for _, env := range w.sent {
			require.NotEqual(t, commands.None, env.ID)
			require.Equal(t, replyTo, env.ReplyTo)
			if user != "" {
				require.Equal(t, user, env.Actor)
			}
		}
	})
}
