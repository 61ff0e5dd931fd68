package output

// Style colours text, or leaves it as it is.
type Style struct{ On bool }

// Good is green: it does its work, it is added.
func (s Style) Good(text string) string { return s.paint("32", text) }

// Warn is yellow: not yet, or changed in place.
func (s Style) Warn(text string) string { return s.paint("33", text) }

// Bad is red: it failed, it is removed.
func (s Style) Bad(text string) string { return s.paint("31", text) }

// Faint is for what matters less.
func (s Style) Faint(text string) string { return s.paint("2", text) }

// Bold is for headings and for what to look at first.
func (s Style) Bold(text string) string { return s.paint("1", text) }

func (s Style) paint(code, text string) string {
	if !s.On || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
