package config

import (
	"errors"
	"strconv"
	"strings"
)

// Reads JSON that the host has written: what is wrong in it is nobody's to mend, so that it says little of that.
type parser struct {
	text string
	at   int
}

var errJSON = errors.New("the configuration is no JSON")

func (p *parser) value() (any, error) {
	p.blank()
	switch next := p.peek(); {
	case next == '{':
		return p.table()
	case next == '[':
		return p.list()
	case next == '"':
		return p.string()
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	case p.word("null"):
		return nil, nil
	case next == '-' || next >= '0' && next <= '9':
		begin := p.at
		for p.at < len(p.text) && strings.IndexByte("+-.eE0123456789", p.text[p.at]) >= 0 {
			p.at++
		}
		return number(p.text[begin:p.at]), nil
	}
	return nil, errJSON
}

func (p *parser) table() (any, error) {
	table := map[string]any{}
	err := p.each('}', func() error {
		key, err := p.string()
		if err != nil {
			return err
		}
		if p.blank(); !p.word(":") {
			return errJSON
		}
		table[key], err = p.value()
		return err
	})
	return table, err
}

func (p *parser) list() (any, error) {
	list := []any{}
	err := p.each(']', func() error {
		element, err := p.value()
		list = append(list, element)
		return err
	})
	return list, err
}

// Reads elements between commas, up to the bracket that ends them.
func (p *parser) each(end byte, element func() error) error {
	p.at++
	if p.blank(); p.word(string(rune(end))) {
		return nil
	}
	for {
		p.blank()
		if err := element(); err != nil {
			return err
		}
		if p.blank(); p.word(string(rune(end))) {
			return nil
		}
		if !p.word(",") {
			return errJSON
		}
	}
}

func (p *parser) string() (string, error) {
	if !p.word("\"") {
		return "", errJSON
	}
	var text strings.Builder
	for p.at < len(p.text) {
		next := p.text[p.at]
		p.at++
		switch {
		case next == '"':
			return text.String(), nil
		case next != '\\':
			text.WriteByte(next)
		case p.peek() == 'u':
			text.WriteRune(p.escaped())
		default:
			at := strings.IndexByte(`"\/bfnrt`, p.peek())
			if at < 0 {
				return "", errJSON
			}
			text.WriteByte("\"\\/\b\f\n\r\t"[at])
			p.at++
		}
	}
	return "", errJSON
}

// The letter of `uXXXX`, or of two of them that make one.
func (p *parser) escaped() rune {
	first := p.unit()
	if first < 0xd800 || first >= 0xdc00 || !p.word("\\") {
		return first
	}
	return 0x10000 + (first-0xd800)<<10 + p.unit() - 0xdc00
}

func (p *parser) unit() rune {
	end := min(p.at+5, len(p.text))
	unit, _ := strconv.ParseUint(p.text[min(p.at+1, end):end], 16, 32)
	p.at = end
	return rune(unit)
}

func (p *parser) word(word string) bool {
	found := strings.HasPrefix(p.text[p.at:], word)
	if found {
		p.at += len(word)
	}
	return found
}

func (p *parser) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}
