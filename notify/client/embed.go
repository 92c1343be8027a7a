// Package client carries the browser client: the TypeScript package @ticketed/doorman, whose README.md is for those
// who use it, bundled into modules that this program serves.
//
//	src/       the client: index.ts is its face, stream.ts its core, client.ts and http.ts the shell around that
//	test/      its tests: sim/ is a server and a network in miniature, model/ plays random users on them
//	bundler/   makes bundle/ of src/; `go generate` runs it, without Node
//
// The core takes what was sent, answered and pushed, and returns what is to be sent and shown; the network, the
// clock and chance are handed in. So a seed replays whatever the model finds.
package client

import (
	"embed"
	"strings"
)

//go:generate go run ./bundler

//go:embed bundle/*.js
var bundle embed.FS

// Main is the module that every page needs.
const Main = "client"

// Modules are the names of the modules, in alphabetical order.
func Modules() []string {
	files, _ := bundle.ReadDir("bundle") // it is in the binary
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".js"))
	}
	return names
}

// Module is the JavaScript of a module; nil when there is none of that name.
func Module(name string) []byte {
	text, err := bundle.ReadFile("bundle/" + name + ".js")
	if err != nil {
		return nil
	}
	return text
}
