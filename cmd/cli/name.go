package cli

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// product is what a binary is called that has no name of its own.
const product = "doorman"

// nameOf is what people call the binary that was started by this path: a team's own binary does not tell
// them to run doorman. What the go command builds to run or test it once has no such name.
func nameOf(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	if path == "" || strings.HasSuffix(name, ".test") || strings.Contains(filepath.ToSlash(path), "/go-build") {
		return product
	}
	return name
}

// commandLines finds the beginnings of command lines within a text.
var commandLines = regexp.MustCompile(`\b` + product + ` (serve|send|tail|bench|config|migrate|lanes|dead|parked|version)\b`)

// inItsName puts the binary's own name into the command lines of a text.
func (a *app) inItsName(text string) string {
	if a.name == product {
		return text
	}
	return commandLines.ReplaceAllString(text, strings.ReplaceAll(a.name, "$", "$$")+" $1")
}

// callByName does so for the help texts of a command and of those below it.
func (a *app) callByName(cmd *cobra.Command) {
	cmd.Long, cmd.Example = a.inItsName(cmd.Long), a.inItsName(cmd.Example)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = a.inItsName(f.Usage) })
	for _, sub := range cmd.Commands() {
		a.callByName(sub)
	}
}
