//! What a shell makes of a line, as far as the pages need it.

/// The commands of a line, each with its words: those between `|`, `&` and `;`, without redirections and comments.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let end = |word: &mut Option<String>, found: &mut Vec<Vec<String>>| {
        if let Some(word) = word.take() {
            found.last_mut().unwrap().push(word);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let text: String = chars.by_ref().take_while(|next| *next != c).collect();
                word.get_or_insert_default().push_str(&text);
            }
            // A line that goes on is one.
            '\\' => match chars.next() {
                Some('\n') | None => end(&mut word, &mut found),
                Some(next) => word.get_or_insert_default().push(next),
            },
            '|' | '&' | ';' | '\n' => {
                end(&mut word, &mut found);
                found.push(Vec::new());
            }
            '#' if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            c if c.is_whitespace() => end(&mut word, &mut found),
            c => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut found);
    for words in &mut found {
        if let Some(at) = words.iter().position(|word| word.starts_with(['>', '<'])) {
            words.truncate(at);
        }
    }
    found.retain(|words| !words.is_empty());
    found
}

#[test]
fn a_line_is_split_as_by_a_shell() {
    let words = |line: &str| -> Vec<String> {
        commands(line).iter().map(|words| words.join("+")).collect()
    };
    assert_eq!(words("a 'b c' \"d e\" # f"), ["a+b c+d e"]);
    assert_eq!(words("a && b|c > d; e"), ["a", "b", "c", "e"]);
    assert_eq!(words("a \\\n  b\nc"), ["a+b", "c"]);
}
