// Package hostos reads and changes what belongs to the host the supervisor runs on: its
// config.json, its name, its version, its addresses. Every path is an argument; nothing here reads
// the environment.
package hostos
