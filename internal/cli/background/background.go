// Package background keeps a library from asking the terminal which color its background has. Bubble Tea, which the engine's
// SDK brings along, does so whenever a program starts that has it (tea_init.go in its v1): that eats what somebody has
// typed ahead, and a terminal that does not answer costs five seconds. devctl has no use for the answer.
//
// Go initializes packages in the order of their paths as far as what they import allows, so this one comes before.
package background

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
