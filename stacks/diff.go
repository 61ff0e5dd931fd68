package stacks

import "reflect"

// Difference is a key that two specs have different values for. A value is a string, a number, a list of strings or a size;
// nil where the spec has none.
type Difference struct {
	Key   string `json:"key"`
	Left  any    `json:"left"`
	Right any    `json:"right"`
}

// Diff compares two specs key by key, defaults included, in the order of the keys. The names of the stacks are none.
func Diff(left, right *Spec) []Difference {
	differences := []Difference{}
	for _, k := range keys() {
		if k.field == nil {
			continue
		}
		if l, r := k.valueIn(left), k.valueIn(right); !reflect.DeepEqual(l, r) {
			differences = append(differences, Difference{Key: k.path, Left: l, Right: r})
		}
	}
	return differences
}

// valueIn is the key's value, or nil where it makes no sense on the spec's provider or has none.
func (k key) valueIn(s *Spec) any {
	field := reflect.ValueOf(k.field(s)).Elem()
	unset := field.IsZero() && field.Kind() != reflect.Int // 0 replicas are a value
	if unset || k.provider != "" && k.provider != s.Provider {
		return nil
	}
	return field.Interface()
}
