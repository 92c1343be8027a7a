package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/sqlite"
)

const (
	childDir    = "DOORMAN_TEST_STORE_DIR"
	killStreams = 100
)

// TestMain lets this binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := commitForEver(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// commitForEver commits and tells the last position after each commit.
func commitForEver(dir string, tell io.Writer) error {
	s, err := sqlite.Open(context.Background(), config(dir).SettlingEvery(200))
	if err != nil {
		return err
	}
	h, err := newHand(s)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		covered, err := h.land([]byte(`{}`), n%killStreams, (n*7+1)%killStreams, killStreams)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(tell, covered.Last); err != nil {
			return err
		}
	}
}

// DESIGN section 5: what was committed survives kill -9 of any process.
func TestWhatWasCommittedSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 4 {
		told := killedAfter(t, dir, 40+97*round)
		s := open(t, config(dir).SettlingEvery(200))
		end, err := s.End(context.Background())
		require.NoError(t, err)
		require.GreaterOrEqual(t, end, told)
		require.NoError(t, sound(s, killStreams+1))
		require.NoError(t, s.Close())
	}
}

// killedAfter starts the child, kills it after it told of so many commits, and gives the last position told.
func killedAfter(t *testing.T, dir string, commits int) uint64 {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var told uint64
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		told, err = strconv.ParseUint(lines.Text(), 10, 64)
		require.NoError(t, err)
		if n == commits {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.Error(t, child.Wait(), "it was killed")
	require.NotZero(t, told)
	return told
}
