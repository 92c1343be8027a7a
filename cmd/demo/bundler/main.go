// Bundler makes the demo's JavaScript of its TypeScript and of the browser client's, for `go generate`: one
// module, minified, into the folder web, with the fonts beside it. What it takes from npm is pinned by
// package-lock.json, and put where it looks by `deploy/services.sh node`.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// fonts are copied as they are.
var fonts = map[string]string{
	"inter.woff2":      "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
	"newsreader.woff2": "@fontsource-variable/newsreader/files/newsreader-latin-wght-normal.woff2",
}

func main() {
	if err := errors.Join(bundle("src/main.ts", "web/desk.js"), copyFonts("node_modules", "web")); err != nil {
		log.Fatal(err)
	}
}

func bundle(from, to string) error {
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{from},
		Outfile:           to,
		Bundle:            true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		Platform:          api.PlatformBrowser,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Charset:           api.CharsetUTF8,
	})
	if len(result.Errors) > 0 {
		return fmt.Errorf("bundle the demo (deploy/services.sh node brings what is missing): %v",
			api.FormatMessages(result.Errors, api.FormatMessagesOptions{}))
	}
	for _, file := range result.OutputFiles {
		if err := os.WriteFile(file.Path, file.Contents, 0o644); err != nil { //nolint:gosec // it is published
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	return nil
}

func copyFonts(from, to string) error {
	for name, source := range fonts {
		font, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(source)))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy a font (deploy/services.sh node brings it): %w", err)
		}
		if err != nil {
			return fmt.Errorf("copy a font: %w", err)
		}
		if err := os.WriteFile(filepath.Join(to, name), font, 0o644); err != nil { //nolint:gosec // it is published
			return fmt.Errorf("copy a font: %w", err)
		}
	}
	return nil
}
