// Package cli is the doorman command line. It is importable, so a team's own binary, with the team's own
// aggregate types and every subcommand, is one call:
//
//	package main
//
//	import (
//		"github.com/ticketed/doorman/aggregate/document"
//		"github.com/ticketed/doorman/cmd/cli"
//
//		"example.org/shop/cart"
//	)
//
//	func main() { cli.Main(document.Type(), cart.Type()) }
//
// Each subcommand is one small file with a function newX(*app) *cobra.Command. What a subcommand needs
// from outside, its streams and its environment, is in [app], so that a test can run a whole command line
// with [Run] and look at what it printed.
//
// # Exit codes
//
//	0  it worked
//	1  it was asked for correctly and failed: the address is taken, a command was rejected
//	2  it was asked for wrongly: an unknown flag, a bad configuration value
package cli
