//! CEL expressions over an entry's attributes.
//!
//! `attr("mail")` is the first value of an attribute, or "" without one; `attrs("mail")` is the
//! list of all; `lang("displayName", "en")` is the first value in a language, or without one.
//! They take literal names, so that the attributes to ask the server for are known beforehand.
//! `now` is the moment of the run. The functions beside CEL's own are in `functions.rs` and
//! `text.rs`.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelInt, CelList, CelString, CelTimestamp, CelUInt, Kind};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};

use super::value::Description;
use super::{Problem, RuleError, kinds, text};
use crate::config::{is_language_tag, nearest};
use crate::model::{Entry, Timestamp};

/// The variable that is the moment of the run.
pub(super) const NOW: &str = "now";

/// A compiled expression.
pub(super) struct Expression {
    written: String,
    tree: IdedExpr,
    env: Arc<Env>,
    uses: Vec<Use>,
    depends_on_time: bool,
}

/// What is wrong with an expression, and where in its text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Option<Range<usize>>,
    pub(super) error: RuleError,
}

/// What is wrong, at a node of the tree.
pub(super) type Misfit = (u64, RuleError);

/// What an expression has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A text, or a number, or null for nothing.
    Text,
    /// True or false.
    Truth,
}

/// One use of an attribute; in the tree it stands as a variable.
struct Use {
    /// A space cannot be part of a name in an expression, so that no other variable can clash.
    variable: String,
    attribute: Description,
    take: Take,
}

#[derive(Clone, PartialEq)]
enum Take {
    First,
    All,
    Language(String),
}

impl Use {
    fn value<'e>(&self, entry: &'e Entry) -> Result<Bound<'e>, Problem> {
        let language = match &self.take {
            Take::First => None,
            Take::Language(tag) => Some(tag.as_str()),
            Take::All => {
                let values = self.attribute.all(entry, None)?;
                let text = |value| Box::new(CelString::from(value)) as Box<dyn Val + 'e>;
                let values: Vec<Box<dyn Val + 'e>> = values.into_iter().map(text).collect();
                return Ok(Bound::List(CelList::from(values)));
            }
        };
        let first = self.attribute.first(entry, language)?.unwrap_or_default();
        Ok(Bound::Text(CelString::from(first)))
    }
}

/// A value that an entry has for a variable; it borrows from the entry.
enum Bound<'e> {
    Text(CelString<'e>),
    List(CelList<'e>),
}

/// The variables of an expression for one entry.
struct Variables<'e> {
    uses: &'e [Use],
    values: Vec<Bound<'e>>,
    now: CelTimestamp,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if variable == NOW {
            return Some(CowVal::Borrowed(&self.now));
        }
        let at = self.uses.iter().position(|used| used.variable == variable);
        Some(match self.values.get(at?)? {
            Bound::Text(text) => CowVal::Borrowed(text),
            Bound::List(list) => CowVal::Borrowed(list),
        })
    }
}

impl Expression {
    pub(super) fn compile(text: &str, wanted: Wanted, env: &Arc<Env>) -> Result<Self, Fault> {
        let program = env.compile(text).map_err(|errors| {
            let first = errors.errors.first();
            Fault {
                at: first.map(|error| {
                    let at = byte_at(text, error.pos);
                    at..at
                }),
                error: RuleError::Syntax(
                    first.map_or_else(|| errors.to_string(), |error| syntax(&error.msg)),
                ),
            }
        })?;
        let mut tree = program.expression().clone();
        let mut binder = Binder {
            context: Context::with_env(Arc::clone(env)),
            scope: Vec::new(),
            uses: Vec::new(),
            depends_on_time: false,
        };
        let bound = binder.bind(&mut tree);
        bound
            .and_then(|()| kinds::check(&tree, env, &binder.variables()))
            .map_err(|(id, error)| {
                let offsets = program.source_info().offset_for(id);
                Fault {
                    at: offsets.map(|offsets| place_of(text, offsets)),
                    error,
                }
            })
            .and_then(|kind| {
                let error = kind.and_then(|kind| kinds::unwanted(kind, wanted));
                error.map_or(Ok(()), |error| Err(Fault { at: None, error }))
            })?;
        Ok(Expression {
            written: text.to_owned(),
            uses: binder.uses,
            depends_on_time: binder.depends_on_time,
            tree,
            env: Arc::clone(env),
        })
    }

    /// The expression as it is written.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// The attributes that it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Description> {
        self.uses.iter().map(|used| &used.attribute)
    }

    pub(super) fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }

    /// The text that it gives. `target` is for messages.
    pub(super) fn text(
        &self,
        target: &dyn Display,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<String, Problem> {
        self.evaluate(target, "a text", entry, now, |value| {
            if let Some(text) = value.downcast_ref::<CelString>() {
                Some(text.inner().to_owned())
            } else if let Some(number) = value.downcast_ref::<CelInt>() {
                Some(number.inner().to_string())
            } else if let Some(number) = value.downcast_ref::<CelUInt>() {
                Some(number.inner().to_string())
            } else {
                (value.get_type().kind() == Kind::NullType).then(String::new)
            }
        })
    }

    /// Whether it is true. `target` is for messages.
    pub(super) fn truth(
        &self,
        target: &dyn Display,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        self.evaluate(target, "true or false", entry, now, |value| {
            value.downcast_ref::<CelBool>().map(|truth| *truth.inner())
        })
    }

    /// Evaluates the expression for an entry, and takes what is wanted out of its value.
    fn evaluate<T>(
        &self,
        target: &dyn Display,
        wanted: &str,
        entry: &Entry,
        now: Timestamp,
        take: impl FnOnce(&dyn Val) -> Option<T>,
    ) -> Result<T, Problem> {
        let values = self.uses.iter().map(|used| used.value(entry));
        let variables = Variables {
            uses: &self.uses,
            values: values.collect::<Result<_, _>>()?,
            now: CelTimestamp::from(now.fixed_offset()),
        };
        // A context is cheap: the functions are in the environment that all of them share.
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(&variables);
        let why = match Value::resolve_val(&self.tree, &context) {
            Ok(value) => match take(value.as_ref()) {
                Some(taken) => return Ok(taken),
                None => format!("it gives a {}, not {wanted}", value.get_type().name()),
            },
            Err(error) => in_words(&error),
        };
        Err(Problem::Expression {
            target: target.to_string(),
            why,
        })
    }
}

/// Why an expression came to nothing; of values what they are, not how the crate names their types.
fn in_words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::IndexOutOfBounds(Value::Int(at)) => {
            format!("the list has nothing at [{at}]")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number gets too large".to_owned(),
        ExecutionError::NoSuchKey(key) => format!("there is no key '{key}'"),
        other => other.to_string(),
    }
}

/// Goes through an expression once: turns each use of an attribute into a variable, and refuses
/// names that nothing has.
struct Binder {
    /// Knows the types and functions.
    context: Context<'static, 'static>,
    /// The variables of the surrounding `map`, `filter`, `all`, …
    scope: Vec<String>,
    uses: Vec<Use>,
    depends_on_time: bool,
}

/// Why a node is refused: at itself, or at one below it.
enum Refusal {
    Here(RuleError),
    At(Misfit),
}

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        Refusal::Here(error)
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Refusal::At(misfit)
    }
}

impl Binder {
    /// The variables that stand for attributes, with what they hold.
    fn variables(&self) -> Vec<(&str, Kind)> {
        let kind = |take: &Take| match take {
            Take::All => Kind::List,
            Take::First | Take::Language(_) => Kind::String,
        };
        let uses = self.uses.iter();
        uses.map(|used| (used.variable.as_str(), kind(&used.take)))
            .collect()
    }

    fn bind(&mut self, node: &mut IdedExpr) -> Result<(), Misfit> {
        let id = node.id;
        self.bind_node(node).map_err(|error| match error {
            Refusal::At(misfit) => misfit,
            Refusal::Here(error) => (id, error),
        })
    }

    fn bind_node(&mut self, node: &mut IdedExpr) -> Result<(), Refusal> {
        if let Some(name) = self.attribute_use(&node.expr)? {
            node.expr = Expr::Ident(name);
            return Ok(());
        }
        if matches!(node.expr, Expr::Ident(_) | Expr::Select(_)) {
            return self.bind_name(node);
        }
        match &mut node.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Select(_) | Expr::Literal(_) => {}
            Expr::Call(call) => self.bind_call(call)?,
            Expr::Comprehension(of) => {
                self.bind(&mut of.iter_range)?;
                self.bind(&mut of.accu_init)?;
                let outside = self.scope.len();
                self.scope
                    .extend([of.iter_var.clone(), of.accu_var.clone()]);
                self.scope.extend(of.iter_var2.clone());
                self.bind(&mut of.loop_cond)?;
                self.bind(&mut of.loop_step)?;
                self.bind(&mut of.result)?;
                self.scope.truncate(outside);
            }
            Expr::List(list) => self.bind_all(&mut list.elements)?,
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    self.bind_entry(&mut entry.expr)?;
                }
            }
            Expr::Struct(structure) => {
                for entry in &mut structure.entries {
                    self.bind_entry(&mut entry.expr)?;
                }
            }
        }
        Ok(())
    }

    fn bind_all(&mut self, nodes: &mut [IdedExpr]) -> Result<(), Misfit> {
        nodes.iter_mut().try_for_each(|node| self.bind(node))
    }

    fn bind_entry(&mut self, entry: &mut EntryExpr) -> Result<(), Misfit> {
        match entry {
            EntryExpr::StructField(field) => self.bind(&mut field.value),
            EntryExpr::MapEntry(entry) => {
                self.bind(&mut entry.key)?;
                self.bind(&mut entry.value)
            }
        }
    }

    /// A variable, a type, or a field of something.
    fn bind_name(&mut self, node: &mut IdedExpr) -> Result<(), Refusal> {
        let is_known = !is_undeclared(node, &self.context);
        match &mut node.expr {
            Expr::Ident(name) if self.scope.contains(name) => Ok(()),
            Expr::Ident(name) if name == NOW => {
                self.depends_on_time = true;
                Ok(())
            }
            _ if is_known => Ok(()),
            Expr::Select(select) => Ok(self.bind(&mut select.operand)?),
            Expr::Ident(name) => Err(RuleError::Unknown(name.clone()).into()),
            _ => Ok(()),
        }
    }

    fn bind_call(&mut self, call: &mut CallExpr) -> Result<(), Refusal> {
        self.bind_all(&mut call.args)?;
        // What does not begin with a letter is an operator, or made by a macro.
        let is_written = call
            .func_name
            .starts_with(|c: char| c.is_ascii_alphabetic());
        let calls_nothing = |func_name: String, target: Option<Expr>, context: &Context| {
            let target = target.map(|expr| Box::new(IdedExpr { id: 0, expr }));
            let call = CallExpr {
                func_name,
                target,
                args: Vec::new(),
            };
            let expr = Expr::Call(call);
            is_undeclared(&IdedExpr { id: 0, expr }, context)
        };
        let Some(target) = &mut call.target else {
            if is_written && calls_nothing(call.func_name.clone(), None, &self.context) {
                return Err(no_function(&call.func_name).into());
            }
            return Ok(literal_arguments(call)?);
        };
        // `math.greatest(…)` is the function of that name, not one on `math`.
        if let Expr::Ident(of) = &target.expr
            && !calls_nothing(format!("{of}.{}", call.func_name), None, &self.context)
        {
            return Ok(());
        }
        let nothing = Expr::Literal(LiteralValue::Null);
        if is_written && calls_nothing(call.func_name.clone(), Some(nothing), &self.context) {
            return Err(no_function(&call.func_name).into());
        }
        literal_arguments(call)?;
        if let Some(target) = &mut call.target {
            self.bind(target)?;
        }
        Ok(())
    }

    /// The variable for a use of an attribute, if the node is one.
    fn attribute_use(&mut self, node: &Expr) -> Result<Option<String>, RuleError> {
        let Expr::Call(call) = node else {
            return Ok(None);
        };
        let literal = |node: &IdedExpr| match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        };
        let literals: Option<Vec<String>> = call.args.iter().map(literal).collect();
        let (name, take) = match (call.func_name.as_str(), literals.as_deref()) {
            _ if call.target.is_some() => return Ok(None),
            ("attr", Some([name])) => (name, Take::First),
            ("attrs", Some([name])) => (name, Take::All),
            ("lang", Some([name, tag])) => {
                if !is_language_tag(tag) {
                    return Err(RuleError::NotALanguage(tag.clone()));
                }
                (name, Take::Language(tag.to_ascii_lowercase()))
            }
            ("attr" | "attrs", _) => {
                return Err(RuleError::NotLiteral {
                    function: call.func_name.clone(),
                    takes: "one name in quotes",
                    example: "attr(\"mail\")",
                });
            }
            ("lang", _) => {
                return Err(RuleError::NotLiteral {
                    function: call.func_name.clone(),
                    takes: "a name and a language in quotes",
                    example: "lang(\"displayName\", \"en\")",
                });
            }
            _ => return Ok(None),
        };
        let attribute = Description::named(name)?;
        let same = |used: &&Use| used.attribute == attribute && used.take == take;
        if let Some(used) = self.uses.iter().find(same) {
            return Ok(Some(used.variable.clone()));
        }
        let variable = format!("value {}", self.uses.len());
        self.uses.push(Use {
            variable: variable.clone(),
            attribute,
            take,
        });
        Ok(Some(variable))
    }
}

/// That there is no function of this name, with what may have been meant.
fn no_function(name: &str) -> RuleError {
    let hint = if text::MEMBERS.contains(&name) {
        format!("; it is written after the text that it is for: attr(\"cn\").{name}(…)")
    } else {
        let near = nearest(name, &text::MEMBERS);
        near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
    };
    RuleError::NoFunction {
        name: name.to_owned(),
        hint,
    }
}

/// Checks the arguments that have to be literals: patterns, of which a regular expression is made
/// once, and the language of a spelling.
fn literal_arguments(call: &mut CallExpr) -> Result<(), Misfit> {
    // `matches` may stand alone, with the text before the pattern.
    let Some(argument) = call.args.get(usize::from(call.target.is_none())) else {
        return Ok(());
    };
    let literal = match &argument.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    };
    let not_literal = |takes, example| RuleError::NotLiteral {
        function: call.func_name.clone(),
        takes,
        example,
    };
    let refuse = |error| Err((argument.id, error));
    match (call.func_name.as_str(), literal) {
        ("ascii", Some(language)) if text::spelling(language).is_some() => Ok(()),
        ("ascii", _) => refuse(not_literal(text::SPELLINGS, "attr(\"cn\").ascii(\"de\")")),
        (name, None) if text::PATTERNS.contains(&name) => refuse(not_literal(
            "its pattern in quotes",
            "attr(\"cn\").regexExtract(\"[0-9]+\")",
        )),
        (name, Some(pattern)) if name == "matches" || text::PATTERNS.contains(&name) => {
            if let Err(error) = regex::Regex::new(pattern) {
                // After the pattern, which is shown in any case.
                let error = error.to_string();
                let why = error.rsplit("error: ").next().unwrap_or_default();
                return refuse(RuleError::Pattern(format!(
                    "`{pattern}` is no regular expression: {why}"
                )));
            }
            if name == "matches" && call.target.is_some() {
                call.func_name = text::MATCHES.to_owned();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The byte of a line and a column, which both begin with 1.
fn byte_at(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or_default();
    let column = usize::try_from(column - 1).unwrap_or_default();
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = &text[before..];
    let within = rest
        .char_indices()
        .nth(column)
        .map_or(rest.len(), |(at, _)| at);
    before + within
}

/// The bytes of a node: of a call the parser knows the parenthesis, before which its name stands.
fn place_of(text: &str, (first, last): (u32, u32)) -> Range<usize> {
    let (mut start, end) = (first as usize, (last as usize).saturating_add(1));
    let Some(before) = text.get(..start) else {
        return 0..text.len();
    };
    if text.get(start..).is_some_and(|rest| rest.starts_with('(')) {
        let name = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        return name.len()..before.len();
    }
    start = start.min(text.len());
    start..end.clamp(start, text.len())
}

/// What the parser says, without all the tokens that it would take.
fn syntax(message: &str) -> String {
    let (what, _) = message.split_once(" expecting ").unwrap_or((message, ""));
    what.replace("mismatched input '<EOF>'", "the expression ends too early")
        .replace("'<EOF>'", "the end")
        .trim_start_matches("Syntax error: ")
        .to_owned()
}

/// Whether a node that needs no entry names something that is not there. Whether it makes sense
/// otherwise (a function without its arguments) is not asked.
fn is_undeclared(node: &IdedExpr, context: &Context) -> bool {
    matches!(
        Value::resolve_val(node, context),
        Err(ExecutionError::UndeclaredReference(_))
    )
}
