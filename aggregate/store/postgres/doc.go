// Package postgres keeps outcomes, heads and parked commands in a Postgres database (14 or newer).
package postgres
