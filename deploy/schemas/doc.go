// Package schemas has what the descriptions of the interfaces over HTTP (package openapi) and over RabbitMQ
// (package asyncapi) have in common: the JSON Schemas of commands, outcomes and problems, for a document's
// components.
//
//	types := schemas.Describe(registry, chains.All(registry))
//	all := schemas.Object{}
//	schemas.AddWords(all)
//	types.AddCommands(all) // Command, Command.order, order.add_line, …
//
// Each is closed: a member that it does not name may not come.
package schemas
