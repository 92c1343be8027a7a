package cloudeventstest_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/cloudeventstest"
)

var (
	at      = time.Date(2026, time.November, 2, 9, 30, 0, 250_000_000, time.UTC)
	outcome = commands.Outcome{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "7"}, Position: 12, Version: 4, At: at,
		Events: []commands.Event{
			{Type: "line_added", Schema: 2, Data: []byte(`{"sku":"A1"}`)}, {Type: "submitted", Schema: 1, Data: []byte(`{}`)},
		},
	}
)

// DESIGN section 4: CloudEvents 1.0 attributes as headers.
func TestOurEventsAreReadAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	for i, kind := range []string{"line_added", "submitted"} {
		told := commands.NewCloudEvent("doorman/e", "e", &outcome, i)
		e, err := cloudeventstest.Read(told.Headers(), "application/json", told.Data)
		require.NoError(t, err)
		require.Equal(t, "1.0", e.SpecVersion())
		require.Equal(t, told.ID, e.ID())
		require.Equal(t, "doorman/e", e.Source())
		require.Equal(t, kind, e.Type())
		require.Equal(t, "order/7", e.Subject())
		require.Equal(t, at, e.Time())
		require.Equal(t, "application/json", e.DataContentType())
		require.Equal(t, string(told.Data), string(e.Data()))
		require.Equal(t, map[string]any{
			"sequence": []string{"3", "4"}[i], "sequencetype": "Integer", "position": "e-12",
			"correlationid": outcome.ID.String(), "causationid": outcome.ID.String(),
		}, e.Extensions())
	}
}

// Reading is only worth something if it finds what is wrong.
func TestWhatIsNoCloudEventIsFound(t *testing.T) {
	t.Parallel()
	told := commands.NewCloudEvent("doorman/e", "e", &outcome, 0)
	for name, value := range map[string]any{
		"cloudEvents_specversion": "7", "cloudEvents_id": "", "cloudEvents_source": "", "cloudEvents_type": "",
		"cloudEvents_time": "yesterday", "cloudEvents_some_thing": "x", "cloudEvents_traceParent": "x",
		"cloudEvents_averyveryverylongname": "x", "cloudEvents_table": map[string]any{},
	} {
		headers := maps.Clone(told.Headers())
		headers[name] = value
		_, err := cloudeventstest.Read(headers, "application/json", told.Data)
		require.Error(t, err, "%s: %v", name, value)
	}
}
