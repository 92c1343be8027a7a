package catalog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
)

func TestAFoldIsTheNewestActionOfEachStream(t *testing.T) {
	t.Parallel()
	require.Empty(t, catalog.Fold(nil))
	one, two, three := commands.Stream{Type: "order", ID: "1"}, commands.Stream{Type: "order", ID: "2"}, commands.Stream{Type: "order", ID: "3"}
	theirs := commands.Stream{Tenant: "acme", Type: "order", ID: "1"}
	at := time.UnixMicro(1).UTC()
	id := commands.NewID
	outcomes := []*commands.Outcome{
		{Position: 4, ID: id(), Stream: one, Version: 1, At: at},
		{Position: 5, ID: id(), Stream: two, Version: 7, At: at},
		{Position: 6, ID: id(), Stream: theirs, Version: 2, At: at},
		{Position: 7, ID: id(), Stream: one, Version: 3, At: at},                             // replaces the first
		{Position: 8, ID: id(), Stream: two, Version: 7, At: at, Reason: commands.Refused},   // changes nothing
		{Position: 9, ID: id(), Stream: three, Version: 0, At: at},                           // no event yet
		{Position: 10, ID: id(), Stream: one, Version: 3, At: at.Add(1)},                     // an action without events
		{Position: 11, ID: id(), Stream: three, Version: 1, At: at, Reason: commands.Failed}, // nor that
	}
	require.Equal(t, []catalog.Row{
		{Stream: two, Version: 7, Ticket: outcomes[1].ID, At: at, Position: 5},
		{Stream: theirs, Version: 2, Ticket: outcomes[2].ID, At: at, Position: 6},
		{Stream: one, Version: 3, Ticket: outcomes[6].ID, At: at.Add(1), Position: 10},
	}, catalog.Fold(outcomes))
}
