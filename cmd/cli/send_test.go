package cli

import (
	"compress/gzip"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/deploy"
)

// server runs a program on a store of its own until the test ends.
func server(t *testing.T) string {
	t.Helper()
	config := deploy.Defaults()
	config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Log = slog.New(slog.DiscardHandler)
	program, err := deploy.New(config, builtIn())
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, program.Stop()) })
	return program.URL()
}

// send runs the subcommand on lines, with the address of a server.
func send(t *testing.T, url string, lines []string, args ...string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lines.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	got := run(t, nil, "", append([]string{"send", "--url", url, "-f", path}, args...)...)
	got.err = strings.ReplaceAll(got.err, path, "lines.jsonl")
	return got
}

// row finds a line of the summary and gives it with single spaces.
func (r result) row(name string) string {
	for line := range strings.Lines(r.out) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			return strings.Join(fields, " ")
		}
	}
	return ""
}

func command(n int, kind, ticket, data string) string {
	return fmt.Sprintf(`{"id":"%s","stream":"document/1","type":%q,"ticket":%q,"data":%s}`, numbered(n), kind, ticket, data)
}

func numbered(n int) string { return fmt.Sprintf("0197a000-0000-7000-8000-%012d", n) }

// chain is n commands of which each follows the one before.
func chain(n int) []string {
	lines := []string{command(1, "create", "genesis", `{"n":1}`)}
	for i := 2; i <= n; i++ {
		lines = append(lines, command(i, "patch", numbered(i-1), fmt.Sprintf(`{"n":%d}`, i)))
	}
	return lines
}

func TestEveryLineLandsAndTheStateIsTheFiles(t *testing.T) {
	t.Parallel()
	url := server(t)
	got := send(t, url, chain(50), "--verify", "--seed", "7")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "sent 50 0 of them twice, seed 7", got.row("sent"))
	require.Regexp(t, `^landed 50 .*/s, all in .* s$`, got.row("landed"))
	require.Equal(t, "rejected 0", got.row("rejected"))
	require.Equal(t, "refused 0", got.row("refused"))
	require.Regexp(t, `^verified 1 documents: version and state are what the file comes to`, got.row("verified"))
	require.Empty(t, got.err)

	t.Run("also when it is sent again", func(t *testing.T) {
		got := send(t, url, chain(50), "--verify", "--array", "20")
		require.Equal(t, ExitOK, got.code, got.err)
		require.Regexp(t, `^landed 50 `, got.row("landed"))
	})
	t.Run("and a difference is found", func(t *testing.T) {
		more := command(51, "patch", numbered(50), `{"n":51}`)
		require.Equal(t, ExitOK, send(t, url, []string{more}).code)
		got := send(t, url, chain(50), "--verify")
		require.Equal(t, ExitError, got.code)
		require.Contains(t, got.out, "document/1 is at version 51, the file comes to 50")
		require.Equal(t, "doorman: 1 of 1 documents are not what the file comes to\n", got.err)
	})
}

// A single connection sends the chain from its end: each command waits for one that is yet to be sent.
func TestFollowingNeverHoldsUpSending(t *testing.T) {
	t.Parallel()
	lines := chain(200)
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	got := send(t, server(t), lines, "--parallel", "1")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^landed 200 `, got.row("landed"))
}

func TestWhatDoesNotLandIsNamedByLine(t *testing.T) {
	t.Parallel()
	lines := []string{
		command(1, "create", "genesis", `{"n":1}`),
		command(2, "patch", numbered(1), `{"n":2}`),
		"",
		command(3, "patch", numbered(1), `{"n":3}`),
		strings.Replace(command(4, "create", "genesis", `{}`), "document/1", "nothing/1", 1),
	}
	got := send(t, server(t), lines, "--parallel", "1")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^landed 2 `, got.row("landed"))
	require.Equal(t, "rejected 1 1 stale_ticket", got.row("rejected"))
	require.Equal(t, "refused 1 1 unknown_type", got.row("refused"))
	require.Contains(t, got.err, "lines.jsonl:4: command "+numbered(3)+" was rejected: stale_ticket: ")
	require.Contains(t, got.err, "lines.jsonl:5: command "+numbered(4)+" was refused: unknown_type: ")
	require.Contains(t, got.err, "doorman: 2 of 4 commands did not end as expected\n")

	t.Run("unless the line says so", func(t *testing.T) {
		t.Parallel()
		lines[3] = strings.Replace(lines[3], "{", `{"expect":"stale_ticket",`, 1)
		lines[4] = strings.Replace(lines[4], "{", `{"expect":"unknown_type",`, 1)
		got := send(t, server(t), lines, "--parallel", "1", "--verify")
		require.Equal(t, ExitOK, got.code, got.err)
		require.Empty(t, got.err)
	})
	t.Run("and so is what lands against expectation", func(t *testing.T) {
		t.Parallel()
		got := send(t, server(t), []string{strings.Replace(lines[0], "{", `{"expect":"rejected",`, 1)})
		require.Equal(t, ExitError, got.code)
		require.Contains(t, got.err, "lines.jsonl:1: command "+numbered(1)+" landed, and was expected to be rejected\n")
	})
}

func TestWhatWaitsInVainIsGivenUp(t *testing.T) {
	t.Parallel()
	got := send(t, server(t), []string{command(2, "patch", numbered(1), `{}`)}, "--wait", "2s")
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "open 1 1 parked", got.row("open"))
	require.Contains(t, got.err, "lines.jsonl:1: command "+numbered(2)+" is parked still, waiting for "+numbered(1)+"\n")
}

func TestNothingIsSentOfAFileWithABadLine(t *testing.T) {
	t.Parallel()
	url := server(t)
	got := send(t, url, append(chain(2), `{"stream":"document/1"}`))
	require.Equal(t, ExitError, got.code)
	require.Empty(t, got.out)
	require.Regexp(t, `^lines.jsonl:3: .*\ndoorman: lines.jsonl: 1 of 3 lines are no commands; nothing was sent\n$`, got.err)
	require.Equal(t, ExitError, send(t, url, []string{command(2, "patch", numbered(1), `{}`)}, "--wait", "100ms").code, "1 was not sent")
}

func TestStandardInputIsSentUpToABadLine(t *testing.T) {
	t.Parallel()
	url := server(t)
	input := strings.Join(append(chain(3), "oops", command(4, "patch", numbered(3), `{}`)), "\n")
	got := run(t, []string{"DOORMAN_URL=" + url}, input, "send", "-f", "-", "--parallel", "1")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^landed 3 `, got.row("landed"))
	require.Regexp(t, `^doorman: -:4: .*at byte 0\)\n$`, got.err)

	got = run(t, []string{"DOORMAN_URL=" + url}, `{"stream":"document/2","type":"create","ticket":"genesis"}`, "send", "-f", "-")
	require.Equal(t, ExitError, got.code, "create needs data")
	require.Equal(t, "rejected 1 1 invalid", got.row("rejected"))
}

func TestAServerThatIsNotThereIsToldOf(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "", "send", "-f", filepath.Join(t.TempDir(), "no"))
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "no such file or directory")
}

// events is a log of real events to be sent, and how many lines it has.
func events(t *testing.T) (path string, lines int) {
	t.Helper()
	folder := os.Getenv("DOORMAN_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	path = filepath.Join(folder, "permits.jsonl.gz")
	if _, err := os.Stat(path); err == nil {
		return path, 8577
	}
	t.Logf("%s is not there (the folder can be named by DOORMAN_DATA); a made log of the same shape is sent instead", path)
	return madeEvents(t, 1434)
}

// madeEvents is a log in the shape of the permits': cases of a few events each, begun one after another
// and interleaved, with ids that are spread at random.
func madeEvents(t *testing.T, cases int) (path string, lines int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	path = filepath.Join(t.TempDir(), "made.jsonl.gz")
	file, err := os.Create(path)
	require.NoError(t, err)
	packed := gzip.NewWriter(file)
	last, left := map[int]string{}, map[int]int{}
	var open []int
	for begun := 0; begun < cases || len(open) > 0; {
		if begun < cases && (len(open) < 40 || random.IntN(6) == 0) {
			open = append(open, begun)
			left[begun] = 1 + random.IntN(11)
			begun++
		}
		i := random.IntN(len(open))
		c := open[i]
		kind, ticket := "patch", last[c]
		if ticket == "" {
			kind, ticket = "create", "genesis"
		}
		last[c] = uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%d/%d", c, left[c])).String()
		_, err := fmt.Fprintf(packed, `{"id":%q,"stream":"document/case-%d","type":%q,"ticket":%q,"session":"clerk%d","data":{"step":%d,"by":"clerk"}}`+"\n",
			last[c], c, kind, ticket, random.IntN(40), left[c])
		require.NoError(t, err)
		lines++
		if left[c]--; left[c] == 0 {
			open = append(open[:i], open[i+1:]...)
		}
	}
	require.NoError(t, packed.Close())
	require.NoError(t, file.Close())
	return path, lines
}

func TestAShuffledProcessLogComesOutRight(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		log   func(*testing.T) (path string, lines int)
		array string
	}{
		"real, in arrays":  {events, "4"},
		"made, one by one": {func(t *testing.T) (string, int) { return madeEvents(t, 100) }, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, lines := tt.log(t)
			got := run(t, nil, "", "send", "--url", server(t), "-f", path, "--array", tt.array,
				"--shuffle", "500", "--duplicate", "5%", "--parallel", "16", "--seed", "42", "--verify")
			t.Log("\n" + got.out)
			require.Equal(t, ExitOK, got.code, got.err)
			require.Regexp(t, fmt.Sprintf(`^sent %d \d+ of them twice, seed 42$`, lines), got.row("sent"))
			require.Regexp(t, fmt.Sprintf(`^landed %d `, lines), got.row("landed"))
			require.NotEmpty(t, got.row("verified"))
		})
	}
}
