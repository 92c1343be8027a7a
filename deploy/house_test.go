package deploy_test

import (
	"bufio"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite generated files")

const module = "github.com/ticketed/doorman"

// room is one row of the table of DESIGN section 6. Patterns are folders; "/..." at the end means the
// folder and everything below it.
type room struct {
	folder string
	may    []string // rooms that its code may import
	tests  []string // rooms that only its tests may import besides
}

// backends are what tests above the stores and buses run on.
var backends = []string{"aggregate/store/...", "bus/...", "aggregate/document", "aggregate/order"}

// house is the table, in the order in which data is known: a row may name only rows above it.
var house = []room{
	{folder: "commands"},
	{folder: "commands/problem", may: []string{"commands"}},
	{folder: "commands/client", may: []string{"commands", "commands/problem"}},
	{folder: "commands/headers"},
	{folder: "commands/wiring"},
	{folder: "commands/vetting", may: []string{"commands", "commands/problem"}},
	{folder: "commands/intake", may: []string{"commands", "commands/problem", "commands/headers", "commands/vetting", "commands/wiring"}},
	{folder: "commands/ingress", may: []string{"commands", "commands/problem", "commands/headers", "commands/vetting", "commands/wiring"}},

	{folder: "aggregate/internal/jsontext"},
	{
		folder: "aggregate", may: []string{"commands", "aggregate/internal/jsontext"},
		tests: []string{"aggregate/aggregatetest", "aggregate/document", "aggregate/order"},
	},
	{folder: "aggregate/aggregatetest", may: []string{"commands", "aggregate"}, tests: []string{"aggregate/order"}},
	{
		folder: "aggregate/document", may: []string{"aggregate", "aggregate/internal/jsontext"},
		tests: []string{"commands", "aggregate/aggregatetest"},
	},
	{folder: "aggregate/order", may: []string{"aggregate"}, tests: []string{"commands", "aggregate/aggregatetest"}},

	{folder: "aggregate/worker/group", tests: []string{"commands", "aggregate/...", "bus/..."}},

	{folder: "aggregate/store", may: []string{"commands", "aggregate"}},
	{folder: "aggregate/store/feed", may: []string{"commands", "aggregate", "aggregate/store"}},
	{folder: "aggregate/store/record", may: []string{"commands", "aggregate", "aggregate/store"}},
	{
		folder: "aggregate/store/storetest", may: []string{"commands", "aggregate", "aggregate/store"},
		tests: []string{"aggregate/document", "aggregate/order"},
	},
	{
		folder: "aggregate/store/sqlite/...",
		may:    []string{"commands", "aggregate", "aggregate/store", "aggregate/store/record", "aggregate/store/sqlite/..."},
		tests:  []string{"aggregate/store/storetest", "aggregate/document", "aggregate/order"},
	},
	{
		folder: "aggregate/store/postgres/...",
		may: []string{
			"commands", "aggregate", "aggregate/store", "aggregate/store/record", "aggregate/worker/group", "aggregate/store/postgres/...",
		},
		tests: []string{"aggregate/store/storetest", "aggregate/document", "aggregate/order"},
	},

	{folder: "bus", may: []string{"commands", "bus/frame"}, tests: []string{"bus/inproc"}},
	{folder: "bus/frame", may: []string{"commands"}},
	{folder: "bus/bustest", may: []string{"commands", "bus", "bus/frame"}},
	{folder: "bus/inproc", may: []string{"commands", "bus", "bus/frame"}, tests: []string{"bus/bustest"}},
	{
		folder: "bus/rabbitmq/...", may: []string{"commands", "bus", "bus/frame", "bus/rabbitmq/..."},
		tests: []string{"bus/bustest"},
	},

	{
		folder: "aggregate/worker/...",
		may: []string{
			"commands", "commands/problem", "aggregate", "aggregate/store", "aggregate/store/record", "bus", "bus/frame", "aggregate/worker/...",
		},
		tests: backends,
	},
	{
		folder: "projections/...",
		may: []string{
			"commands", "commands/problem", "commands/headers", "commands/wiring", "aggregate", "aggregate/store", "projections/...",
		},
		tests: backends,
	},
	{
		folder: "notify/...",
		may: []string{
			"commands", "commands/problem", "commands/headers", "commands/wiring",
			"aggregate", "aggregate/store", "aggregate/store/feed", "bus", "bus/frame", "notify/...",
		},
		tests: backends,
	},

	{ // tests alone
		folder: "deploy/faults",
		tests: []string{
			"commands/...", "aggregate", "aggregate/store/postgres/postgrestest", "bus/rabbitmq/rabbitmqtest", "deploy/contracttest",
			"cmd/cli",
		},
	},
	{ // tests alone
		folder: "deploy/endtoend",
		tests: []string{
			"commands/...", "aggregate/...", "bus/rabbitmq/rabbitmqtest", "deploy/contracttest", "deploy/cloudeventstest", "cmd/cli",
		},
	},
	{ // programs of others: they know nothing of ours; the tests that run them do
		folder: "deploy/examples/...", may: []string{"deploy/examples/..."},
		tests: []string{"commands/...", "aggregate/...", "bus/rabbitmq/rabbitmqtest", "deploy"},
	},
	{
		folder: "deploy/...",
		may:    []string{"commands/...", "aggregate/...", "bus/...", "projections/...", "notify/...", "deploy/..."},
	},
	{
		folder: "cmd/...",
		may:    []string{"commands/...", "aggregate/...", "bus/...", "projections/...", "notify/...", "deploy/...", "cmd/..."},
	},
}

// guest is a package from outside that only some rooms may use in code that is shipped. "*/x" means any
// folder named x and everything below it; "*test" any whose name ends so, a suite for tests to run.
type guest struct {
	pkg  string // an import path, and everything below it
	only []string
}

var guests = []guest{
	{"github.com/jackc", []string{"*/postgres"}},
	{"modernc.org", []string{"*/sqlite"}},
	{"database/sql", []string{"*/postgres", "*/sqlite"}},
	{"github.com/pressly/goose", []string{"*/postgres", "*/sqlite"}},
	{"github.com/ThreeDotsLabs/watermill", []string{"bus/...", "aggregate/worker/...", "deploy/examples/..."}},
	{"github.com/rabbitmq", []string{"bus/rabbitmq/...", "deploy/examples/..."}},
	{"net/http", []string{
		"commands/problem", "commands/client", "commands/intake",
		"projections/query", "projections/admin", "notify/sse", "deploy/...", "cmd/...",
	}},
	{"github.com/cloudevents", []string{"*test"}},
	{"github.com/spf13/cobra", []string{"cmd/..."}},
	{"github.com/knadh/koanf", []string{"deploy/..."}},
	{"github.com/stretchr/testify", []string{"*test"}},
	{"pgregory.net/rapid", []string{"*test"}},
	{"go.uber.org/goleak", []string{"*test"}},
}

// DESIGN section 6: the top level is fixed, "no other visible entry".
func TestTopLevelIsFixed(t *testing.T) {
	t.Parallel()
	allowed := strings.Fields("cmd commands aggregate bus projections notify deploy go.mod go.sum Makefile README.md")
	allowed = append(allowed, ignoredAtTopLevel(t)...)
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") {
			require.Contains(t, allowed, name, "%s does not belong at the top level", name)
		}
	}
}

// DESIGN section 6: a package imports what its row of the table says and nothing more.
func TestPackagesImportWhatTheHouseAllows(t *testing.T) {
	t.Parallel()
	files := goFiles(t)
	require.NotEmpty(t, files)
	for _, file := range files {
		if complaint := complaints(file); len(complaint) > 0 {
			t.Errorf("%s/%s:\n\t%s", file.folder, file.name, strings.Join(complaint, "\n\t"))
		}
	}
}

// The check above is only worth something if it finds what it is meant to find.
func TestForbiddenImportsAreFound(t *testing.T) {
	t.Parallel()
	forbidden := []struct{ folder, name, imports string }{
		{"commands", "x.go", module + "/aggregate"},
		{"commands", "x.go", "github.com/google/uuid"},
		{"commands", "x_test.go", module + "/aggregate"},
		{"aggregate", "x.go", module + "/aggregate/store"},
		{"aggregate", "x.go", "net/http"},
		{"aggregate/document", "x.go", module + "/aggregate/store"},
		{"aggregate/store/sqlite", "x.go", module + "/aggregate/store/postgres"},
		{"aggregate/store/sqlite", "x.go", "github.com/jackc/pgx/v5"},
		{"aggregate/store/sqlite/inner", "x.go", module + "/aggregate/store/postgres/inner"},
		{"commands/headers", "x.go", "github.com/google/uuid"},
		{"aggregate/worker", "x.go", module + "/aggregate/store/sqlite"},
		{"aggregate/worker", "x.go", module + "/deploy"},
		{"aggregate/worker", "x.go", "github.com/stretchr/testify/require"},
		{"projections/query", "x.go", "github.com/ThreeDotsLabs/watermill/message"},
		{"deploy", "x.go", module + "/cmd/cli"},
		{"attic", "x.go", "fmt"},
	}
	for _, f := range forbidden {
		file := goFile{folder: f.folder, name: f.name, imports: []string{f.imports}}
		require.NotEmpty(t, complaints(file), "%s in %s/%s", f.imports, f.folder, f.name)
	}
	fine := []struct{ folder, name, imports string }{
		{"commands", "x_test.go", "github.com/stretchr/testify/require"},
		{"aggregate/worker", "x_test.go", module + "/aggregate/store/sqlite"},
		{"aggregate/worker/relay", "x.go", module + "/aggregate/worker"},
		{"projections/postgres", "x.go", "github.com/jackc/pgx/v5"},
		{"projections/postgres/inner", "x.go", "github.com/jackc/pgx/v5"},
		{"bus/bustest", "x.go", "github.com/stretchr/testify/require"},
		{"cmd/doorman", "main.go", module + "/cmd/cli"},
	}
	for _, f := range fine {
		file := goFile{folder: f.folder, name: f.name, imports: []string{f.imports}}
		require.Empty(t, complaints(file), "%s in %s/%s", f.imports, f.folder, f.name)
	}
}

// The linter shows the same rules while code is being written. Its part of .golangci.yml is generated from
// the table above: go test ./deploy -run Linter -update.
func TestLinterEnforcesTheSameTable(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../.golangci.yml", "# import table: begin\n", "      # import table: end\n"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "no %q in %s", begin, file)
	got, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "no %q in %s", end, file)
	want := linterRules()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	if want != got { // the difference of two such texts tells nobody anything
		t.Error("the linter's rules differ from the table above: make generate")
	}
}

type goFile struct {
	folder, name string // folder relative to the module, with slashes
	imports      []string
}

func (f goFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// goFiles parses the imports of every Go file of the module.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir("..", func(where string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if where != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), where, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel("..", filepath.Dir(where))
		if err != nil {
			return err
		}
		file := goFile{folder: filepath.ToSlash(folder), name: name}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			file.imports = append(file.imports, imported)
		}
		files = append(files, file)
		return nil
	})
	require.NoError(t, err)
	return files
}

// complaints says what a file imports that it may not.
func complaints(file goFile) []string {
	row := slices.IndexFunc(house, func(r room) bool { return within(r.folder, file.folder) })
	if row < 0 {
		return []string{fmt.Sprintf("folder %s is no room of the house: give it a row in the table of this test", file.folder)}
	}
	var found []string
	for _, imported := range file.imports {
		ours, isOurs := strings.CutPrefix(imported, module+"/")
		switch {
		case isOurs && !mayImport(house[row], file, ours):
			found = append(found, fmt.Sprintf("%s may not import %s", file.folder, ours))
		case !isOurs && !file.isTest() && (!guestAllowed(file.folder, imported) || !house[row].hosts(imported)):
			found = append(found, fmt.Sprintf("%s may not import %s", file.folder, imported))
		}
	}
	return found
}

func mayImport(r room, file goFile, ours string) bool {
	in := func(pattern string) bool { return within(pattern, ours) }
	return slices.ContainsFunc(r.may, in) ||
		file.isTest() && (ours == file.folder || slices.ContainsFunc(r.tests, in))
}

// hosts: a room that may import nothing of ours, the vocabulary first of all, has the standard library only.
func (r room) hosts(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return len(r.may) > 0 || !strings.Contains(first, ".")
}

func guestAllowed(folder, imported string) bool {
	for _, g := range guests {
		if within(g.pkg+"/...", imported) &&
			!slices.ContainsFunc(g.only, func(pattern string) bool { return within(pattern, folder) }) {
			return false
		}
	}
	return true
}

func within(pattern, folder string) bool {
	if name, ok := strings.CutPrefix(pattern, "*/"); ok {
		return slices.Contains(strings.Split(folder, "/"), name)
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(folder, suffix)
	}
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return folder == root || strings.HasPrefix(folder, root+"/")
	}
	return pattern == folder
}

func ignoredAtTopLevel(t *testing.T) []string {
	t.Helper()
	file, err := os.Open("../.gitignore")
	require.NoError(t, err)
	defer file.Close()
	var names []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "/") {
			names = append(names, strings.Trim(line, "/"))
		}
	}
	return names
}

// linterRules is the table as depguard's rules, one a room and one a guest.
func linterRules() string {
	var b strings.Builder
	for _, r := range house {
		name, _ := strings.CutSuffix(r.folder, "/...")
		fmt.Fprintf(&b, "        %s:\n          files: [%q, \"!$test\"]\n", name, linterFiles(r.folder))
		if len(r.may) == 0 {
			b.WriteString("          list-mode: strict\n          allow: [$gostd]\n")
			continue
		}
		b.WriteString("          list-mode: lax\n          allow:\n")
		for _, pattern := range r.may {
			root, deep := strings.CutSuffix(pattern, "/...")
			if !deep {
				root += "$"
			}
			fmt.Fprintf(&b, "            - %s/%s\n", module, root)
		}
		fmt.Fprintf(&b, "          deny: [{pkg: %s, desc: \"not in this room's row of the import table\"}]\n", module)
	}
	for _, g := range guests {
		name := strings.ReplaceAll(g.pkg, ".", "-") // the linter cuts names at dots
		fmt.Fprintf(&b, "        %s:\n          list-mode: lax\n          files:\n            - $all\n            - \"!$test\"\n", name)
		for _, pattern := range g.only {
			fmt.Fprintf(&b, "            - %q\n", "!"+linterFiles(pattern))
		}
		fmt.Fprintf(&b, "          deny: [{pkg: %s, desc: \"belongs in %s\"}]\n", g.pkg, strings.Join(g.only, ", "))
	}
	return b.String()
}

func linterFiles(pattern string) string {
	if name, ok := strings.CutPrefix(pattern, "*/"); ok {
		return "**/" + name + "/**.go"
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return "**/*" + suffix + "/*.go"
	}
	if root, deep := strings.CutSuffix(pattern, "/..."); deep {
		return "${base-path}/" + root + "/**.go"
	}
	return "${base-path}/" + pattern + "/*.go"
}
