//go:build unix

package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// oneLine is what a program that cannot start says: one sentence.
func oneLine(t *testing.T, s *process) string {
	t.Helper()
	require.Equal(t, 1, s.exit(), "%s", s.log)
	said := s.log.String()
	require.Regexp(t, `^doorman: [^\n]+\n$`, said)
	return said
}

func TestASecondProcessOnOneFolderIsTurnedAway(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	first := p.start(t)
	other := newPlace(t)
	other.args = p.args
	require.Regexp(t, fmt.Sprintf(`%s is in use by another doorman \(process %d\); stop it, or give this one another directory\n$`,
		regexp.QuoteMeta(p.folder), first.child.Process.Pid), oneLine(t, other.spawn(t)))

	// The first one has not noticed; and its place is free as soon as it is gone, however it went.
	landOne(t, p)
	first.kill()
	other.start(t)
	landOne(t, other)
}

func landOne(t *testing.T, p *place) {
	t.Helper()
	c := command(commands.Stream{Type: "ledger", ID: commands.NewID().String()}, "add", commands.Genesis, added{1})
	view, err := newClient(t, p.url()).Send(soon(t), *c, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, view.Status)
}

func TestAFolderThatIsNoneIsTold(t *testing.T) {
	t.Parallel()
	p := onSQLite(t)
	p.folder = filepath.Join(p.folder, "file")
	require.NoError(t, os.WriteFile(p.folder, nil, 0o600))
	p.args = []string{"--data-dir", p.folder}
	require.Contains(t, oneLine(t, p.spawn(t)), p.folder)
}
