// Bundler makes the browser client's JavaScript of its TypeScript, for `go generate`: one module for each entry
// of package.json's exports, minified, into the folder bundle. It needs no Node.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/evanw/esbuild/pkg/api"
)

// entries are the modules; what another one exports is imported where it is needed, not bundled twice.
var entries = []api.EntryPoint{
	{InputPath: "src/index.ts", OutputPath: "client"},
	{InputPath: "src/persist.ts", OutputPath: "persist"},
	{InputPath: "src/share.ts", OutputPath: "share"},
	{InputPath: "src/react.ts", OutputPath: "react"},
}

func main() {
	if err := bundle("bundle"); err != nil {
		log.Fatal(err)
	}
}

func bundle(folder string) error {
	result := api.Build(api.BuildOptions{
		EntryPointsAdvanced: entries,
		Outdir:              folder,
		Bundle:              true,
		Format:              api.FormatESModule,
		Target:              api.ES2022,
		Platform:            api.PlatformBrowser,
		External:            []string{"react"},
		MinifyWhitespace:    true,
		MinifyIdentifiers:   true,
		MinifySyntax:        true,
		// What begins with an underscore is the package's own: no user and no other module names it.
		MangleProps: `^_[a-z]`,
		// A field that is only declared is no code.
		TsconfigRaw:   `{"compilerOptions":{"useDefineForClassFields":false}}`,
		LegalComments: api.LegalCommentsNone,
		Charset:       api.CharsetUTF8,
	})
	if len(result.Errors) > 0 {
		return fmt.Errorf("bundle the client: %v", api.FormatMessages(result.Errors, api.FormatMessagesOptions{}))
	}
	for _, file := range result.OutputFiles {
		if err := os.WriteFile(file.Path, file.Contents, 0o644); err != nil { //nolint:gosec // it is published
			return fmt.Errorf("write a bundle: %w", err)
		}
	}
	return nil
}
