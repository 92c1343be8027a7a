// Command doorman serves the built-in aggregate types; a team's own binary is as short as this one.
package main

import (
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/cmd/cli"
)

func main() { cli.Main(document.Type(), order.Type()) }
