//! CEL expressions over an entry's attributes.
//!
//! `attr("mail")` is the first value of an attribute, or "" without one; `attrs("mail")` is the
//! list of all; `lang("displayName", "en")` is the first value in a language, or without one.
//! They take literal names, so that the attributes to ask the server for are known beforehand.
//! `now` is the moment of the run. The functions beside CEL's own are in `functions.rs`.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelInt, CelList, CelString, CelTimestamp, CelUInt, Kind};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};

use super::value::Description;
use super::{Problem, RuleError};
use crate::config::{MappingTarget, is_language_tag};
use crate::model::{Entry, Timestamp};

/// The variable that is the moment of the run.
const NOW: &str = "now";

/// A compiled expression.
pub(super) struct Expression {
    tree: IdedExpr,
    env: Arc<Env>,
    uses: Vec<Use>,
    depends_on_time: bool,
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
    pub(super) fn compile(text: &str, env: &Arc<Env>) -> Result<Self, RuleError> {
        let program = env.compile(text).map_err(|errors| {
            let first = errors.errors.first();
            RuleError::Syntax {
                line: first.map_or(1, |error| error.pos.0),
                column: first.map_or(1, |error| error.pos.1),
                message: first.map_or_else(|| errors.to_string(), |error| error.msg.clone()),
            }
        })?;
        let mut tree = program.expression().clone();
        let mut binder = Binder {
            context: Context::with_env(Arc::clone(env)),
            scope: Vec::new(),
            uses: Vec::new(),
            depends_on_time: false,
        };
        binder.bind(&mut tree)?;
        Ok(Expression {
            uses: binder.uses,
            depends_on_time: binder.depends_on_time,
            tree,
            env: Arc::clone(env),
        })
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.uses.iter().map(|used| used.attribute.name())
    }

    pub(super) fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }

    pub(super) fn text(
        &self,
        target: MappingTarget,
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

    pub(super) fn truth(&self, entry: &Entry, now: Timestamp) -> Result<bool, Problem> {
        self.evaluate(
            MappingTarget::Active,
            "true or false",
            entry,
            now,
            |value| value.downcast_ref::<CelBool>().map(|truth| *truth.inner()),
        )
    }

    /// Evaluates the expression for an entry, and takes what is wanted out of its value.
    fn evaluate<T>(
        &self,
        target: MappingTarget,
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
            Err(error) => error.to_string(),
        };
        Err(Problem::Expression {
            target: target.to_string(),
            why,
        })
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

impl Binder {
    fn bind(&mut self, node: &mut IdedExpr) -> Result<(), RuleError> {
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

    fn bind_all(&mut self, nodes: &mut [IdedExpr]) -> Result<(), RuleError> {
        nodes.iter_mut().try_for_each(|node| self.bind(node))
    }

    fn bind_entry(&mut self, entry: &mut EntryExpr) -> Result<(), RuleError> {
        match entry {
            EntryExpr::StructField(field) => self.bind(&mut field.value),
            EntryExpr::MapEntry(entry) => {
                self.bind(&mut entry.key)?;
                self.bind(&mut entry.value)
            }
        }
    }

    /// A variable, a type, or a field of something.
    fn bind_name(&mut self, node: &mut IdedExpr) -> Result<(), RuleError> {
        let is_known = !is_undeclared(node, &self.context);
        match &mut node.expr {
            Expr::Ident(name) if self.scope.contains(name) => Ok(()),
            Expr::Ident(name) if name == NOW => {
                self.depends_on_time = true;
                Ok(())
            }
            _ if is_known => Ok(()),
            Expr::Select(select) => self.bind(&mut select.operand),
            Expr::Ident(name) => Err(RuleError::Unknown(name.clone())),
            _ => Ok(()),
        }
    }

    fn bind_call(&mut self, call: &mut CallExpr) -> Result<(), RuleError> {
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
                return Err(RuleError::Unknown(call.func_name.clone()));
            }
            return Ok(());
        };
        // `math.greatest(…)` is the function of that name, not one on `math`.
        if let Some(of) = qualified(&target.expr)
            && !calls_nothing(format!("{of}.{}", call.func_name), None, &self.context)
        {
            return Ok(());
        }
        let nothing = Expr::Literal(LiteralValue::Null);
        if is_written && calls_nothing(call.func_name.clone(), Some(nothing), &self.context) {
            return Err(RuleError::Unknown(call.func_name.clone()));
        }
        self.bind(target)
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
                    example: "(\"mail\")",
                });
            }
            ("lang", _) => {
                return Err(RuleError::NotLiteral {
                    function: call.func_name.clone(),
                    takes: "a name and a language in quotes",
                    example: "(\"displayName\", \"en\")",
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

/// The name that `a` or `a.b.c` spells.
fn qualified(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!(
            "{}.{}",
            qualified(&select.operand.expr)?,
            select.field
        )),
        _ => None,
    }
}

/// Whether a node that needs no entry names something that is not there. Whether it makes sense
/// otherwise (a function without its arguments) is not asked.
fn is_undeclared(node: &IdedExpr, context: &Context) -> bool {
    matches!(
        Value::resolve_val(node, context),
        Err(ExecutionError::UndeclaredReference(_))
    )
}
