package deploy

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// A name in a command is a piece of the frame that it came in; as a label it would keep all of it.
func TestLabelsKeepNoFrames(t *testing.T) {
	t.Parallel()
	frame := strings.Repeat("x", 1000) + "order" + "stale_ticket"
	kind, reason := frame[1000:1005], frame[1005:]
	m := newMetrics()
	m.count([]*commands.Outcome{
		{Stream: commands.Stream{Type: kind, ID: "1"}, Version: 1},
		{Stream: commands.Stream{Type: kind, ID: "1"}, Reason: commands.Reason(reason)},
		{Stream: commands.Stream{Type: "order", ID: "1"}, Reason: commands.StaleTicket},
	})
	families, err := m.registry.Gather()
	require.NoError(t, err)
	first, last := unsafe.StringData(frame), unsafe.StringData(frame[len(frame)-1:])
	within := func(text string) bool {
		at := uintptr(unsafe.Pointer(unsafe.StringData(text)))
		return at >= uintptr(unsafe.Pointer(first)) && at <= uintptr(unsafe.Pointer(last))
	}
	require.True(t, within(kind))
	seen := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "doorman_outcomes_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			text := ""
			for _, label := range metric.GetLabel() {
				require.False(t, within(label.GetValue()), label.GetName())
				text += label.GetValue() + " "
			}
			seen[text] = metric.GetCounter().GetValue()
		}
	}
	require.Equal(t, map[string]float64{" landed order ": 1, "stale_ticket rejected order ": 2}, seen)
	for kept := range m.landed {
		require.False(t, within(kept))
	}
	for kept := range m.turned {
		require.False(t, within(kept.kind))
	}
}
